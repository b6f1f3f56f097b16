"""Process isolation is for one trusted organisation: with more the control plane refuses to start."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from api.organizations.repository import OrganizationRepository
from api.settings import Settings, SettingsError


async def refuse_strangers(session: AsyncSession, settings: Settings) -> None:
    """Check that no organisation's code would run beside another's without a wall between them.

    :raises SettingsError: With isolation ``process`` the database has more than this one organisation.
    """
    if settings.isolation == "kubernetes":
        return
    others = await OrganizationRepository(session).count_others(settings.organization)
    if others:
        raise SettingsError(
            "The control plane cannot start: with AGENT_FACTORY_ISOLATION=process there must be one organisation, for "
            f"its code runs on this machine; the database has {others + 1}. Set AGENT_FACTORY_ISOLATION=kubernetes."
        )
