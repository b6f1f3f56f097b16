"""``/runtime/v1/executions``: what workers call. The table in ``docs/architecture.md`` lists it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.adoption.service import adopt
from api.auth import SettingsDep, authenticate_runtime
from api.database import DatabaseDep
from api.edge import RuntimeRoute
from api.executions.service import parse_execution_id
from api.executions.waiting import parse_wait, wait_for
from api.namespaces.settings import pod_settings
from api.notifications import ListenerDep
from api.problems import not_found
from api.runtime.children import ChildService
from api.runtime.credentials import model_credential
from api.runtime.events import emit_event
from api.runtime.service import RuntimeService
from api.runtime.watching import find_news
from api.tenancy import SystemTransaction
from api.workflows.plans import PlansDep
from operators.execution.records import (
    AnswerReceipt,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalState,
    ChildRequest,
    ChildState,
    Emission,
    EmittedEvent,
    ExecutionState,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    News,
    PodSettings,
    Redactions,
    Settling,
)
from operators.execution.store import MOST_AWAITED

router = APIRouter(
    prefix="/runtime/v1/executions/{execution_id}",
    tags=["runtime"],
    route_class=RuntimeRoute,
    dependencies=[Depends(authenticate_runtime)],
)


async def _open(
    execution_id: str, session: SystemTransaction, settings: SettingsDep, plans: PlansDep
) -> RuntimeService:
    return await RuntimeService.open(session, parse_execution_id(execution_id), settings, plans)


Service = Annotated[RuntimeService, Depends(_open)]


@router.post("/lease")
async def lease_unit(
    execution_id: str, body: LeaseRequest, database: DatabaseDep, settings: SettingsDep, plans: PlansDep
) -> LeaseGrant:
    """Take or renew the lease of a unit. A run that was started in Airflow is adopted first, by its run id."""
    async with database.system() as session:
        service = await RuntimeService.find(session, execution_id, settings, plans)
        if service is not None:
            return await service.lease(body)
        adopted = await adopt(session, execution_id, body, settings, plans)
    # Of its own, so that a refused lease leaves the adoption as it is.
    async with database.system() as session:
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


@router.get("/watch")
async def watch_execution(
    execution_id: str,
    settings: SettingsDep,
    database: DatabaseDep,
    listener: ListenerDep,
    awaited: Annotated[list[UUID], Query(max_length=MOST_AWAITED)] = [],  # noqa: B006  FastAPI copies it
    wait: str = "20s",
) -> News:
    """Answer when the execution ends or fails, or one thing that a step of it waits for is there; else after
    ``wait``."""
    identifier = parse_execution_id(execution_id)

    async def look() -> News:
        async with database.system() as session:
            return await find_news(session, settings, identifier, awaited)

    seconds = parse_wait(wait, settings.max_wait_seconds)
    return await wait_for(
        listener, [identifier, *awaited], look, seconds=seconds, enough=lambda news: news.halted or news.done
    )


@router.put("/approvals/{step_id}")
async def ask_approval(step_id: str, body: ApprovalRequest, service: Service) -> ApprovalState:
    """Ask people for a decision, if that has not been done yet, and answer how it stands."""
    return await service.ask_approval(step_id, body)


@router.post("/approvals/{step_id}/decision")
async def answer_approval(step_id: str, body: ApprovalAnswer, service: Service) -> AnswerReceipt:
    """Take an answer that was given in Airflow."""
    return await service.answer_approval(step_id, body)


@router.post("/children")
async def start_child(
    execution_id: str, body: ChildRequest, session: SystemTransaction, settings: SettingsDep, plans: PlansDep
) -> ChildState:
    """Start an execution of another workflow for a step; the same key again shows how it stands."""
    service = await ChildService.open(session, parse_execution_id(execution_id), settings, plans)
    return await service.start(body)


@router.delete("/children/{child_id}", status_code=204)
async def cancel_child(
    execution_id: str, child_id: str, session: SystemTransaction, settings: SettingsDep, plans: PlansDep
) -> None:
    """Cancel a child of the execution; whatever is none stays as it is."""
    service = await ChildService.open(session, parse_execution_id(execution_id), settings, plans)
    await service.cancel(parse_execution_id(child_id))


@router.post("/events")
async def emit_step_event(
    execution_id: str, body: Emission, session: SystemTransaction, settings: SettingsDep, plans: PlansDep
) -> EmittedEvent:
    """Raise an event; the same step and epoch again raise nothing new."""
    return await emit_event(session, parse_execution_id(execution_id), body, settings, plans)


@router.get("/pods", responses={409: {"description": "Code runs in processes here"}})
async def get_pod_settings(service: Service, settings: SettingsDep) -> PodSettings:
    """Return how pods of the execution are made."""
    return pod_settings(settings, service.organization, await service.warm_pods())


@router.get("/credentials/models/{provider}")
async def get_model_credential(provider: str, service: Service, settings: SettingsDep) -> ModelCredential:
    """Return the key of a model provider; without one the built-in test model answers."""
    credential = model_credential(settings, provider)
    if credential is None:
        raise not_found("model provider", provider)
    return credential


@router.get("/credentials/redactions")
async def get_redactions(service: Service) -> Redactions:
    """Return the secrets that must be masked in what the execution's containers print."""
    return await service.redactions()
