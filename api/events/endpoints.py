"""``/api/v1/events``: CloudEvents come in."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.auth import CallerDep, SettingsDep, permit
from api.edge import EdgeRoute
from api.events.cloudevents import BATCH, STRUCTURED, read_events
from api.events.schemas import EventAccepted
from api.events.service import EventService
from api.tenancy import Transaction
from api.workflows.plans import PlansDep

router = APIRouter(prefix="/api/v1", tags=["events"], route_class=EdgeRoute)

_EXAMPLE = {
    "specversion": "1.0",
    "type": "order.created",
    "source": "/shop",
    "id": "order-1",
    "data": {"order": 1},
}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": {"type": "object"}, "example": _EXAMPLE},
            BATCH: {"schema": {"type": "array", "items": {"type": "object"}}},
            "application/json": {"schema": {}},
        },
    }
}


@router.post("/events", status_code=202, openapi_extra=_BODY, dependencies=[permit("event:send")])
async def send_event(
    request: Request, caller: CallerDep, settings: SettingsDep, plans: PlansDep, session: Transaction
) -> EventAccepted | list[EventAccepted]:
    """Start the workflows that wait for a CloudEvent, or for each of a batch, which is taken as a whole or not at all.

    The same event (``source`` and ``id``) again within 24 hours gets the same answer and starts nothing.
    """
    body = await request.body()
    events = read_events(request.headers, body)
    service = EventService(session, caller.organization_id, settings, plans)
    answers = [await service.hear(event) for event in events]
    is_batch = request.headers.get("content-type", "").lower().startswith(BATCH)
    return answers if is_batch else answers[0]
