"""The first owner of the organisation of the settings."""

from __future__ import annotations

import logging
from uuid import UUID

from pydantic import TypeAdapter

from api.accounts.emails import Email
from api.accounts.passwords import NewPassword, hash_password
from api.accounts.repository import UserRepository
from api.database import Database
from api.settings import Settings, SettingsError

log = logging.getLogger(__name__)


async def ensure_owner(database: Database, settings: Settings, organization_id: UUID) -> None:
    """Make the owner of the settings, where the organisation has no member yet; an account that there is keeps its
    password. Later the settings change nothing.

    :raises SettingsError: The address or the password cannot be used.
    """
    if not settings.owner_email or settings.owner_password is None:
        return
    async with database.system() as session:
        if await UserRepository(session).has_members(organization_id):
            return
    try:
        email = TypeAdapter(Email).validate_python(settings.owner_email)
        password = TypeAdapter(NewPassword).validate_python(settings.owner_password)
    except ValueError:
        raise SettingsError(
            "The control plane cannot start: AGENT_FACTORY_OWNER_EMAIL must be an address and "
            "AGENT_FACTORY_OWNER_PASSWORD have 12 to 128 characters."
        ) from None
    password_hash = await hash_password(password)
    async with database.system() as session:
        users = UserRepository(session)
        name = email.partition("@")[0]
        user = await users.add(email, name, password_hash, verified=False) or await users.find(email)
        assert user is not None
        await users.add_member(organization_id, user.id, "organization_owner")
        log.info("made the first owner of organisation %s", settings.organization)
