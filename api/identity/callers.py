"""Whose bearer token a request has: the operator's, an API key, or the access token of a session."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from api.api_keys.format import parse_key
from api.database import Database
from api.identity.permissions import Role, expand, permissions_of
from api.identity.repository import CallerRepository
from api.problems import Problem
from api.settings import Settings
from api.signing.keys import KeyRing
from api.signing.tokens import InvalidToken, read_access_token

Via = Literal["token", "api_key", "operator"]


@dataclass(frozen=True)
class Caller:
    """An authenticated caller of ``/api/v1`` and the organisation it acts for.

    :param role: The role by which it is let in; of an API key that of its maker.
    :param permissions: What it may, with every wildcard expanded.
    :param via: How it showed who it is.
    :param user_id: The user; None for the operator and for API keys that the operator made.
    :param email: The user's address.
    :param session_id: The session, where ``via`` is ``token``.
    :param key_id: The API key, where ``via`` is ``api_key``.
    """

    organization_id: UUID
    organization: str
    role: Role
    permissions: frozenset[str]
    via: Via
    user_id: UUID | None = None
    email: str | None = None
    session_id: UUID | None = None
    key_id: UUID | None = None


def unauthorized() -> Problem:
    """Return the one answer to every bearer token that is none of ours: it tells nothing about why."""
    detail = "Send the header 'Authorization: Bearer <token>' with a valid token."
    return Problem(401, "unauthorized", detail, headers={"www-authenticate": "Bearer"})


class Authenticator:
    """Finds the caller of a bearer token. What the database says counts, at once: a session that was revoked, a user
    that was disabled and a role that was changed are not waited out.

    :param operated: The organisation that the operator's token acts for.
    """

    def __init__(self, settings: Settings, database: Database, keys: KeyRing, operated: UUID) -> None:
        self._settings = settings
        self._database = database
        self._keys = keys
        self._operated = operated

    async def authenticate(self, bearer: str) -> Caller:
        """Return the caller.

        :raises Problem: 401.
        """
        caller = self._operator(bearer) or await self._of_api_key(bearer) or await self._of_access_token(bearer)
        if caller is None:
            raise unauthorized()
        return caller

    async def look_again(self, caller: Caller, bearer: str) -> Caller | None:
        """Return a caller of before as they are now; None where nobody would let them in any more.

        :param caller: Whom the bearer token was of. Their session counts, not whether the access token is over by now.
        """
        if caller.session_id is not None and caller.user_id is not None:
            return await self._of_session(caller.session_id, caller.user_id, caller.organization_id)
        return self._operator(bearer) or await self._of_api_key(bearer)

    def _operator(self, bearer: str) -> Caller | None:
        expected = self._settings.api_token
        if expected is None or not secrets.compare_digest(bearer.encode(), expected.get_secret_value().encode()):
            return None
        role: Role = "organization_owner"
        return Caller(self._operated, self._settings.organization, role, permissions_of(role), "operator")

    async def _of_api_key(self, bearer: str) -> Caller | None:
        key = parse_key(bearer)
        if key is None:
            return None
        async with self._database.system() as session:
            found = await CallerRepository(session).of_api_key(key.prefix, key.digest)
        if found is None:
            return None
        if found.user_id is None:
            # Made by the operator: it lives no longer than the operator's token does.
            if self._settings.api_token is None or found.organization_id != self._operated:
                return None
            role: Role = "organization_owner"
        elif found.role is None:
            return None
        else:
            role = found.role
        # A key may always ask whose it is.
        may = (expand(found.permissions) | {"account:own"}) & permissions_of(role)
        return Caller(
            found.organization_id,
            found.organization,
            role,
            may,
            "api_key",
            user_id=found.user_id,
            email=found.email,
            key_id=found.key_id,
        )

    async def _of_access_token(self, bearer: str) -> Caller | None:
        try:
            claims = read_access_token(bearer, await self._keys.verifying(bearer), self._settings.public_url)
        except InvalidToken:
            return None
        return await self._of_session(claims.sid, claims.sub, claims.org)

    async def _of_session(self, session_id: UUID, user_id: UUID, organization_id: UUID) -> Caller | None:
        async with self._database.system() as session:
            found = await CallerRepository(session).of_session(session_id, user_id)
        # A token of before a switch of the organisation is of no use any more.
        if found is None or found.role is None or found.organization_id != organization_id:
            return None
        return Caller(
            found.organization_id,
            found.organization,
            found.role,
            permissions_of(found.role),
            "token",
            user_id=user_id,
            email=found.email,
            session_id=session_id,
        )
