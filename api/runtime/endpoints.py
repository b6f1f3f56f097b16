"""``/runtime/v1/executions``: what workers call. The table in ``docs/architecture.md`` lists it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.adoption.service import adopt
from api.auth import SettingsDep, authenticate_runtime
from api.database import DatabaseDep, Transaction
from api.edge import RuntimeRoute
from api.executions.service import parse_execution_id
from api.problems import not_found
from api.runtime.credentials import model_credential
from api.runtime.service import RuntimeService
from api.workflows.plans import PlansDep
from operators.execution.records import (
    ExecutionState,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    Settling,
)

router = APIRouter(
    prefix="/runtime/v1/executions/{execution_id}",
    tags=["runtime"],
    route_class=RuntimeRoute,
    dependencies=[Depends(authenticate_runtime)],
)


async def _open(execution_id: str, session: Transaction, settings: SettingsDep, plans: PlansDep) -> RuntimeService:
    return await RuntimeService.open(session, parse_execution_id(execution_id), settings, plans)


Service = Annotated[RuntimeService, Depends(_open)]


@router.post("/lease")
async def lease_unit(
    execution_id: str, body: LeaseRequest, database: DatabaseDep, settings: SettingsDep, plans: PlansDep
) -> LeaseGrant:
    """Take or renew the lease of a unit. A run that was started in Airflow is adopted first, by its run id."""
    async with database.transaction() as session:
        service = await RuntimeService.find(session, execution_id, settings, plans)
        if service is not None:
            return await service.lease(body)
        adopted = await adopt(session, execution_id, body, plans)
    # Of its own, so that a refused lease leaves the adoption as it is.
    async with database.transaction() as session:
        return await (await RuntimeService.open(session, adopted, settings, plans)).lease(body)


@router.post("/heartbeat")
async def extend_lease(body: Settling, service: Service) -> ExecutionState:
    """Extend a lease."""
    return await service.heartbeat(body)


@router.post("/steps")
async def journal_steps(body: Journaling, service: Service) -> ExecutionState:
    """Store results of steps; they are durable when the answer comes."""
    return await service.journal(body)


@router.post("/settle")
async def settle_unit(body: Settling, service: Service) -> ExecutionState:
    """Give a lease back: every step of the unit is decided."""
    return await service.settle(body)


@router.post("/finish")
async def finish_execution(body: Finish, service: Service) -> ExecutionState:
    """End the execution."""
    return await service.finish(body)


@router.get("/credentials/models/{provider}")
async def get_model_credential(provider: str, service: Service, settings: SettingsDep) -> ModelCredential:
    """Return the key of a model provider; without one the built-in test model answers."""
    credential = model_credential(settings, provider)
    if credential is None:
        raise not_found("model provider", provider)
    return credential
