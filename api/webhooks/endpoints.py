"""``/webhook/{organization}/{path}``: who may call is what the workflow's ``auth`` says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Request, Response

from api.auth import SettingsDep
from api.database import Database, DatabaseDep
from api.deliveries.callbacks import read_callback_url, require_callback_secret
from api.executions.repository import Outcome
from api.executions.schemas import ExecutionAccepted
from api.executions.service import ExecutionService
from api.executions.waiting import wait_for
from api.gateway.admission import address_of, count_request, count_webhook
from api.idempotency.keys import IDEMPOTENCY_KEY, REPLAYED, WEBHOOK_ID, RequestKey, read_key
from api.notifications import ListenerDep
from api.objects.service import download
from api.problems import Problem
from api.settings import Settings
from api.webhooks.answers import accepted_answer, outcome_answer
from api.webhooks.authentication import Credentials, authenticate_webhook, load_credentials
from api.webhooks.payload import METHODS, describe_trigger, read_input, read_raw
from api.webhooks.service import calls_back, find_route, signed_key, sync_seconds
from api.webhooks.signatures import SignedMessage
from api.workflows.plans import PlansDep
from operators.execution.records import StoredOutput

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
    ``Idempotency-Key`` or ``Webhook-Id``, starts nothing and has the same answer, with the header
    ``Idempotent-Replayed``; so has a signed message that came before. While the first request with an
    ``Idempotency-Key`` is being accepted: 409.
    """
    try:
        async with database.system() as session:
            organization_id, route = await find_route(session, organization, path, request.method)
            if calls_back(route.config):
                await require_callback_secret(session, organization_id, settings)
            credentials = await load_credentials(session, organization_id, settings, route.config)
    except Problem:
        await count_request(request, address_of(request))
        raise
    if credentials.is_open:
        await count_webhook(request, organization, path)
    # No connection is held while a slow caller sends the body.
    body = await read_raw(request, settings.webhook_max_bytes)
    message = await _let_in(request, body, credentials, organization, path)
    callback_url = read_callback_url(request) if calls_back(route.config) else None
    value = await read_input(request, body)
    trigger = describe_trigger(request, path, credentials.header)
    keys = _keys_of(request, path, value, trigger, message)
    async with database.transaction(organization_id) as session:
        service = ExecutionService(session, organization_id, settings, plans)
        accepted = await service.accept(
            route.workflow_id, input=value, trigger=trigger, keys=keys, callback_url=callback_url
        )

    async def look() -> Outcome:
        async with database.transaction(organization_id) as session:
            return await ExecutionService(session, organization_id, settings, plans).outcome(accepted.execution_id)

    seconds = sync_seconds(route.config)
    if seconds is None:
        answer = accepted_answer(accepted)
    else:
        outcome = await wait_for(
            listener,
            [accepted.execution_id],
            look,
            seconds=min(seconds, settings.max_wait_seconds),
            enough=lambda outcome: outcome.ended or outcome.answer is not None,
        )
        answer = outcome_answer(accepted, await _with_output(database, organization_id, settings, outcome))
    if accepted.replayed:
        answer.headers[REPLAYED] = "true"
    return answer


async def _with_output(database: Database, organization_id: UUID, settings: Settings, outcome: Outcome) -> Outcome:
    """Return an outcome with its output, also where that is an object."""
    if outcome.output_ref is None or outcome.answer is not None:
        return outcome
    data = await download(database, settings, organization_id, StoredOutput.model_validate(outcome.output_ref))
    return replace(outcome, output=orjson.Fragment(data))


async def _let_in(
    request: Request, body: bytes, credentials: Credentials, organization: str, path: str
) -> SignedMessage | None:
    """Authenticate and count: strangers for their address, so that they use up nothing of the webhook's own rate."""
    if credentials.is_open:
        return None
    try:
        message = await authenticate_webhook(request, body, credentials)
    except Problem:
        await count_request(request, address_of(request))
        raise
    await count_webhook(request, organization, path)
    return message


def _keys_of(request: Request, path: str, value: Any, trigger: Any, message: SignedMessage | None) -> list[RequestKey]:
    """Return what this request is known by when it comes again: its signature, and the key its caller gave."""
    door = f"{request.method} {path}"
    names = (IDEMPOTENCY_KEY,) if message else (IDEMPOTENCY_KEY, WEBHOOK_ID)
    given = read_key(request, f"webhook {door}", {"input": value, "query": trigger["query"]}, names)
    # Always in this order, so that no two requests wait for each other.
    return [*([signed_key(door, message)] if message else []), *([given] if given else [])]


_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The output of an execution that was waited for"},
    202: {"model": ExecutionAccepted, "description": "An execution that will run"},
    401: {"description": "The webhook does not let the caller in"},
    405: {"description": "The webhook takes another method"},
    503: {"description": "The webhook cannot check its callers now"},
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
