"""Passwords of accounts: change them, and set them anew by a link."""

from __future__ import annotations

from uuid import UUID

from pydantic import SecretStr

from api.accounts.passwords import hash_password, verify_password
from api.accounts.repository import PasswordResetRepository, UserRepository
from api.accounts.secrets import digest_of, new_token
from api.accounts.throttling import LOGINS_OF_ACCOUNT, LOGINS_OF_ADDRESS, TOKENS_OF_ADDRESS, Throttle
from api.database import Database
from api.identity.callers import Caller
from api.mail.mailer import Mailer
from api.problems import Problem
from api.sessions.repository import SessionRepository
from api.settings import Settings

LINK_SECONDS = 3600


class AccountService:
    """Passwords."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._throttle = Throttle(database)

    async def change_password(self, caller: Caller, current: SecretStr, new: SecretStr, *, address: str) -> None:
        """Change the caller's password; every other session of theirs ends.

        :raises Problem: 403 where the current one is wrong; 429 after too many tries.
        """
        assert caller.user_id is not None
        assert caller.email is not None
        account, place = (LOGINS_OF_ACCOUNT, caller.email), (LOGINS_OF_ADDRESS, address)
        await self._throttle.enter(account, place)
        async with self._database.system() as session:
            user = await UserRepository(session).get(caller.user_id)
        if not await verify_password(user.password_hash if user else None, current):
            raise Problem(403, "wrong_password", "`current_password` must be the password of now; it is not.")
        await self._throttle.succeed(account, place)
        await self._set(caller.user_id, new, besides=caller.session_id)

    async def send_link(self, email: str, mailer: Mailer) -> None:
        """Send a link to set a new password, where the address has an account; nothing tells whether it has."""
        if not mailer.delivers:
            return
        link = await self.make_link(email, by_mail=True)
        if link is not None:
            body = (
                "Somebody, probably you, asked to set a new password for your account of Agent Factory.\n\n"
                f"{link.get_secret_value()}\n\n"
                "The link works once, for an hour. If it was not you, there is nothing to do.\n"
            )
            await mailer.send(email, "Set a new password", body)

    async def make_link(self, email: str, *, by_mail: bool) -> SecretStr | None:
        """Return a new link by which a user sets a password; None where there is no such user."""
        token = new_token("afp")
        async with self._database.system() as session:
            user = await UserRepository(session).find(email)
            if user is None or user.disabled_at is not None:
                return None
            resets = PasswordResetRepository(session)
            await resets.replace(user.id, digest_of(token), by_mail=by_mail, lifetime=LINK_SECONDS)
        return link_to(self._settings, "reset-password", token)

    async def reset_password(self, token: SecretStr, new: SecretStr, *, address: str) -> None:
        """Set a password by the token of a link; every session of the user ends.

        :raises Problem: 400 where the link is used up, over or none; 429 after too many of those.
        """
        async with self._database.system() as session:
            reset = await PasswordResetRepository(session).take(digest_of(token))
            if reset is not None and reset.by_mail:
                user = await UserRepository(session).get(reset.user_id)
                if user is not None:
                    user.verified = True
        if reset is None:
            await self._throttle.enter((TOKENS_OF_ADDRESS, address))
            raise Problem(400, "invalid_link", "The link is not valid (any more); ask for a new one.")
        await self._set(reset.user_id, new)

    async def _set(self, user_id: UUID, password: SecretStr, *, besides: UUID | None = None) -> None:
        password_hash = await hash_password(password)
        async with self._database.system() as session:
            user = await UserRepository(session).get(user_id)
            assert user is not None
            user.password_hash = password_hash
            await PasswordResetRepository(session).forget(user_id)
            await SessionRepository(session).revoke(user_id, besides=besides)


def link_to(settings: Settings, page: str, token: SecretStr) -> SecretStr:
    """Return the link to a page. The token is behind ``#``, which browsers send to no server and write in no log."""
    return SecretStr(f"{settings.public_url}/{page}#token={token.get_secret_value()}")
