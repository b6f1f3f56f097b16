"""``/api/v1/agents/{id}/test``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from api.auth import CallerDep, Permission, SettingsDep, permit
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.ids import parse_id
from api.trials.schemas import TrialCreate
from api.trials.service import prepare_trial
from api.trials.slots import SlotsDep
from api.trials.stream import TrialResponse, events
from api.workflows.plans import PlansDep

router = APIRouter(prefix="/api/v1/agents/{agent_id}/test", tags=["tests"], route_class=EdgeRoute)

_EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "event": {"enum": ["started", "step", "finished"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Server-sent events: `started`, a `step` for each that ended, `finished`.",
        "content": {"text/event-stream": {"schema": _EVENT}},
    }
}


@router.post("", response_class=Response, responses=_ANSWERS, dependencies=[permit("agent:edit")])
async def test_draft(
    agent_id: str,
    body: TrialCreate,
    caller: CallerDep,
    settings: SettingsDep,
    database: DatabaseDep,
    plans: PlansDep,
    slots: SlotsDep,
) -> TrialResponse:
    """Run an agent's draft, or one step of it, without publishing and without keeping anything.

    It ends when the caller goes.
    """
    if body.live:
        await Permission("execution:run")(caller)
    # No connection is held while it runs.
    async with database.transaction(caller.organization_id) as session:
        identifier = parse_id("agent", agent_id)
        trial = await prepare_trial(session, caller, settings, database, plans, identifier, body)
    organization_id = caller.organization_id
    slots.take(organization_id)
    content = events(trial.run, trial.steps, settings.trial_max_seconds)
    return TrialResponse(content, lambda: slots.give_back(organization_id))
