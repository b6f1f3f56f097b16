"""What the operator does to accounts, from the machine that reaches the database."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import SecretStr

from api.accounts.repository import UserRepository
from api.accounts.secrets import digest_of, new_token
from api.accounts.service import AccountService, link_to
from api.database import Database
from api.invitations.repository import InvitationRepository
from api.invitations.service import INVITATION_SECONDS
from api.models import User
from api.organizations.repository import OrganizationRepository
from api.sessions.repository import SessionRepository
from api.settings import Settings
from api.signing.keys import KeyRing


class OperationRefused(Exception):
    """What the operator asked for cannot be done; the message is one sentence."""


class Operations:
    """Operations, each in transactions of its own."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def password_link(self, email: str) -> SecretStr:
        """Return a link by which a user sets a new password.

        :raises OperationRefused: There is no such user, or they are disabled.
        """
        link = await AccountService(self._database, self._settings).make_link(email, by_mail=False)
        if link is None:
            raise OperationRefused(f"There is no account of {email}, or it is disabled.")
        return link

    async def invitation_link(self, email: str, role: str, slug: str) -> SecretStr:
        """Invite an address in the operator's name; return the link.

        :raises OperationRefused: There is no such organisation.
        """
        token = new_token("afi")
        async with self._database.system() as session:
            organization_id = await OrganizationRepository(session).find(slug)
            if organization_id is None:
                raise OperationRefused(f"There is no organisation {slug!r}.")
            await InvitationRepository(session, organization_id).add(
                email, role, digest_of(token), by_mail=False, invited_by=None, lifetime=INVITATION_SECONDS
            )
        return link_to(self._settings, "accept-invitation", token)

    async def set_admin(self, email: str, *, is_admin: bool) -> None:
        """Make a user an admin of the platform, or no more.

        :raises OperationRefused: There is no such user.
        """
        await self._change(email, platform_admin=is_admin)

    async def set_disabled(self, email: str, *, is_disabled: bool) -> None:
        """Disable a user, whose sessions end and whose keys are refused at once, or enable them again.

        :raises OperationRefused: There is no such user.
        """
        user = await self._change(email, disabled_at=datetime.now(UTC) if is_disabled else None)
        async with self._database.system() as session:
            await SessionRepository(session).revoke(user.id)

    async def rotate_keys(self, *, at_once: bool) -> str:
        """Make a new signing key; return its id."""
        return await KeyRing(self._settings, self._database).rotate(at_once=at_once)

    async def _change(self, email: str, **values: object) -> User:
        async with self._database.system() as session:
            user = await UserRepository(session).find(email)
            if user is None:
                raise OperationRefused(f"There is no account of {email}.")
            for name, value in values.items():
                setattr(user, name, value)
        return user
