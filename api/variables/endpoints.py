"""``/api/v1/variables``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.tenancy import Transaction
from api.variables.schemas import (
    DEFAULT_ENVIRONMENT,
    EnvironmentName,
    VariableList,
    VariableName,
    VariableSet,
    VariableView,
)
from api.variables.service import VariableService

router = APIRouter(prefix="/api/v1/variables", tags=["variables"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> VariableService:
    return VariableService(session, caller.organization_id, settings)


Service = Annotated[VariableService, Depends(_service)]


@router.get("", dependencies=[permit("variable:read")])
async def list_variables(service: Service, environment: EnvironmentName | None = None) -> VariableList:
    """Return the organisation's variables, of one environment or of all; never the value of a secret one."""
    return await service.all(environment)


@router.get("/{name}", dependencies=[permit("variable:read")])
async def get_variable(
    name: VariableName, service: Service, environment: EnvironmentName = DEFAULT_ENVIRONMENT
) -> VariableView:
    """Return a variable."""
    return await service.show(environment, name)


@router.put("/{name}", responses={201: {"model": VariableView}}, dependencies=[permit("variable:edit")])
async def set_variable(
    name: VariableName,
    body: VariableSet,
    response: Response,
    service: Service,
    environment: EnvironmentName = DEFAULT_ENVIRONMENT,
) -> VariableView:
    """Set a variable: 201 where it is new. Executions that begin from now on read it."""
    view, is_new = await service.set(environment, name, body)
    if is_new:
        response.status_code = 201
    return view


@router.delete("/{name}", status_code=204, dependencies=[permit("variable:edit")])
async def delete_variable(
    name: VariableName, service: Service, environment: EnvironmentName = DEFAULT_ENVIRONMENT
) -> None:
    """Remove a variable. Executions that have begun keep what they read."""
    await service.remove(environment, name)
