"""``/webhook/{organization}/{path}``: public; a route of its own kind of authentication says who may call it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from api.auth import SettingsDep
from api.database import DatabaseDep
from api.executions.repository import Outcome
from api.executions.schemas import ExecutionAccepted
from api.executions.service import ExecutionService
from api.executions.waiting import wait_for
from api.gateway.admission import address_of, count_request, count_webhook
from api.idempotency.keys import IDEMPOTENCY_KEY, WEBHOOK_ID, read_key
from api.notifications import ListenerDep
from api.problems import Problem
from api.webhooks.answers import accepted_answer, outcome_answer
from api.webhooks.payload import METHODS, describe_trigger, read_input
from api.webhooks.service import find_route, sync_seconds
from api.workflows.plans import PlansDep

router = APIRouter(tags=["webhooks"])


async def call_webhook(
    organization: str,
    path: str,
    request: Request,
    settings: SettingsDep,
    plans: PlansDep,
    database: DatabaseDep,
    listener: ListenerDep,
) -> Response:
    """Start the workflow of a webhook.

    ``async``: 202 with the execution's id. ``sync``: what its ``respond`` step answers; else at the end 200 with the
    output, or 500 if it failed; 202 if neither comes in time. The same request again within 24 hours, by its
    ``Idempotency-Key`` or ``Webhook-Id``, starts nothing and is answered for the execution of the first one.
    """
    try:
        async with database.system() as session:
            organization_id, route = await find_route(session, organization, path, request.method)
    except Problem:
        await count_request(request, address_of(request))
        raise
    await count_webhook(request, organization, path)
    # No connection is held while a slow caller sends the body.
    value = await read_input(request, settings.webhook_max_bytes)
    trigger = describe_trigger(request, path)
    scope = f"webhook {request.method} {path}"
    key = read_key(request, scope, {"input": value, "query": trigger["query"]}, (IDEMPOTENCY_KEY, WEBHOOK_ID))
    async with database.transaction(organization_id) as session:
        service = ExecutionService(session, organization_id, settings, plans)
        accepted = await service.accept(route.workflow_id, input=value, trigger=trigger, key=key)
    seconds = sync_seconds(route.config)
    if seconds is None:
        return accepted_answer(accepted)

    async def look() -> Outcome:
        async with database.transaction(organization_id) as session:
            return await ExecutionService(session, organization_id, settings, plans).outcome(accepted.execution_id)

    outcome = await wait_for(
        listener,
        [accepted.execution_id],
        look,
        seconds=min(seconds, settings.max_wait_seconds),
        enough=lambda outcome: outcome.ended or outcome.answer is not None,
    )
    return outcome_answer(accepted, outcome)


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The output of an execution that was waited for"},
    202: {"model": ExecutionAccepted, "description": "An execution that will run"},
    405: {"description": "The webhook takes another method"},
    "default": {"description": "Whatever the workflow's `respond` step says"},
}

for _method in METHODS:
    router.add_api_route(
        "/webhook/{organization}/{path:path}",
        call_webhook,
        methods=[_method],
        operation_id=f"call_webhook_{_method.lower()}",
        response_class=Response,
        responses=_ANSWERS,
    )
