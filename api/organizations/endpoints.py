"""``/api/v1/organizations``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.auth import CallerDep, SettingsDep, permit
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.organizations.schemas import OrganizationChange, OrganizationCreate, OrganizationList, OrganizationView
from api.organizations.service import OrganizationService

router = APIRouter(prefix="/api/v1/organizations", tags=["identity"], route_class=EdgeRoute)


async def _service(database: DatabaseDep, caller: CallerDep, settings: SettingsDep) -> OrganizationService:
    return OrganizationService(database, caller, settings)


Service = Annotated[OrganizationService, Depends(_service)]


@router.post("", status_code=201, dependencies=[permit("platform:organizations")])
async def make_organization(body: OrganizationCreate, service: Service) -> OrganizationView:
    """Make an organisation; switch to it and invite its first owner."""
    return await service.make(body)


@router.get("", dependencies=[permit("org:read")])
async def list_organizations(service: Service) -> OrganizationList:
    """Return the caller's organisations."""
    return await service.list()


@router.patch("/{slug}", dependencies=[permit("org:edit")])
async def rename_organization(slug: str, body: OrganizationChange, service: Service) -> OrganizationView:
    """Rename the organisation that the caller acts for."""
    return await service.rename(slug, body.name)
