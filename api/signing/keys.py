"""The signing keys of a process: read from the database, made when there is none, replaced when they are old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import Database
from api.encryption import Cipher, UnsealError
from api.identity.permissions import Role
from api.models import SigningKey
from api.problems import Problem
from api.settings import Settings
from api.signing.repository import SigningKeyRepository
from api.signing.tokens import ALGORITHM, LEEWAY_SECONDS, LIFETIME_SECONDS, InvalidToken, issue_access_token, key_id

KEY_DAYS = 30
"""After how long a key gets a successor."""
ANNOUNCE_SECONDS = 600.0
"""How long a successor is published before it signs, and how long others may keep our JWKS."""
REREAD_SECONDS = 60.0
"""A process reads the keys anew after this time, and where a token names a key that it does not know (then at most
once in ``UNKNOWN_SECONDS``, so that made-up key ids do not become load)."""
UNKNOWN_SECONDS = 5.0


def identity_not_configured() -> Problem:
    """Return the problem of a control plane that cannot log people in."""
    detail = "Nobody can log in: the control plane has no AGENT_FACTORY_SECRET_KEY. Set it to 32 random characters."
    return Problem(503, "identity_not_configured", detail)


class KeyRing:
    """The keys of one process.

    :param settings: ``secret_key`` opens the private parts; without it there are no keys, and no token is valid.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._public: dict[str, ECKey] = {}
        self._signing_row: SigningKey | None = None
        self._signing: ECKey | None = None
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def verifying(self, token: str) -> Mapping[str, ECKey]:
        """Return the keys that are trusted, by key id; with the newest ones where the token needs them.

        :raises InvalidToken: The text is no token, which is told without asking the database.
        """
        kid = key_id(token)
        if self._settings.secret_key is None:
            raise InvalidToken("no keys")
        age = time.monotonic() - self._read_at
        if age > REREAD_SECONDS or (kid not in self._public and age > UNKNOWN_SECONDS):
            await self._read()
        return self._public

    async def public_jwks(self) -> list[dict[str, Any]]:
        """Return the public keys as JWKs."""
        if self._settings.secret_key is not None and time.monotonic() - self._read_at > UNKNOWN_SECONDS:
            await self._read()
        return [{**key.as_dict(private=False), "use": "sig", "alg": ALGORITHM} for key in self._public.values()]

    async def issue(self, *, user_id: UUID, organization_id: UUID, role: Role, session_id: UUID) -> str:
        """Return a new access token.

        :raises Problem: 503 where no secret key is set.
        """
        if self._signing_row is None or time.monotonic() - self._read_at > REREAD_SECONDS:
            await self._read()
        return issue_access_token(
            self._signing_key(),
            self._settings.public_url,
            user_id=user_id,
            organization_id=organization_id,
            role=role,
            session_id=session_id,
        )

    async def rotate(self, *, at_once: bool) -> str:
        """Make a new key and return its id.

        :param at_once: Whether the old keys are distrusted now, as after a leak; else they overlap.
        """
        async with self._database.system() as session:
            repository = SigningKeyRepository(session)
            await repository.lock()
            kid = await self._make(repository, delay=0.0 if at_once else ANNOUNCE_SECONDS)
            await repository.retire_others(kid, after=0.0 if at_once else _overlap())
        self._read_at = float("-inf")
        return kid

    async def _read(self) -> None:
        if self._settings.secret_key is None:
            raise identity_not_configured()
        async with self._lock, self._database.system() as session:
            keys = await self._trusted(session)
            now = datetime.now(UTC)
            self._signing_row = next((key for key in keys if key.signs_from <= now), keys[-1])
            self._public = {key.kid: ECKey.import_key(key.public_jwk, {"kid": key.kid}) for key in keys}
            self._read_at = time.monotonic()

    def _signing_key(self) -> ECKey:
        """Return the key that signs now, decrypted once.

        :raises Problem: 503 where it was encrypted under another secret key.
        """
        row = self._signing_row
        assert row is not None
        if self._signing is None or self._signing.kid != row.kid:
            try:
                private = orjson.loads(self._cipher().open(row.private_key, row.kid))
            except UnsealError as error:
                raise Problem(503, "secret_key_changed", f"Nobody can log in: {error}") from None
            self._signing = ECKey.import_key(private, {"kid": row.kid})
        return self._signing

    async def _trusted(self, session: AsyncSession) -> list[SigningKey]:
        """Return the trusted keys; make the first one, or the successor of one that is old."""
        repository = SigningKeyRepository(session)
        keys = await repository.trusted()
        if keys and not await repository.is_older_than(keys[0], KEY_DAYS * 86_400):
            return keys
        await repository.lock()
        keys = await repository.trusted()
        if not keys:
            await self._make(repository, delay=0.0)
        elif await repository.is_older_than(keys[0], KEY_DAYS * 86_400):
            kid = await self._make(repository, delay=ANNOUNCE_SECONDS)
            await repository.retire_others(kid, after=_overlap())
        await repository.remove_distrusted()
        return await repository.trusted()

    async def _make(self, repository: SigningKeyRepository, *, delay: float) -> str:
        key = ECKey.generate_key("P-256")
        kid = key.thumbprint()
        private = orjson.dumps(key.as_dict(private=True))
        await repository.add(kid, dict(key.as_dict(private=False)), self._cipher().seal(private, kid), delay=delay)
        return kid

    def _cipher(self) -> Cipher:
        if self._settings.secret_key is None:
            raise identity_not_configured()
        return Cipher(self._settings.secret_key, "signing keys")


def _overlap() -> float:
    """Return how long an old key is trusted after its successor was made: until the last token it signed is over."""
    return ANNOUNCE_SECONDS + REREAD_SECONDS + LIFETIME_SECONDS + LEEWAY_SECONDS
