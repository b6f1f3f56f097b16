"""``/api/v1/audit-log``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.audit.schemas import AuditList, AuditPage
from api.audit.service import list_entries
from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1/audit-log", tags=["audit log"], route_class=EdgeRoute)


@router.get("", dependencies=[permit("audit:read")])
async def get_audit_log(
    asked: Annotated[AuditPage, Query()], caller: CallerDep, settings: SettingsDep, session: Transaction
) -> AuditList:
    """Return who changed what in the organisation, the newest first."""
    return await list_entries(session, caller.organization_id, settings, asked)
