"""Prepares a test of a draft: everything is read and checked before it begins."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid4

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncSession

from api.agents.service import AgentService
from api.auth import Caller
from api.database import Database
from api.events.cloudevents import CloudEvent
from api.events.service import EventService
from api.runtime.credentials import model_credential
from api.settings import Settings
from api.trials.checks import as_stubs, check_effects, check_pins, check_step, without_pods
from api.trials.schemas import TrialCreate
from api.variables.repository import VariableRepository
from api.variables.schemas import DEFAULT_ENVIRONMENT
from api.workflows.dependencies import find_called
from api.workflows.plans import PlanCache
from api.workflows.service import plan_of
from compiler import compile_workflow
from compiler.plan import Plan
from operators.execution.identity import event_id
from operators.execution.local import LocalResult, run_plan, run_step
from operators.execution.records import FinalStatus, ModelCredential
from operators.execution.runner import Observer
from operators.execution.stubs import Stubs
from operators.steps.base import EventEmitter, StepFailedError, StepKey


@dataclass(frozen=True)
class Trial:
    """A test, ready to run. It holds no transaction."""

    id: str
    plan: Plan
    body: TrialCreate
    vars: dict[str, JsonValue]
    called: Mapping[str, Plan]
    settings: Settings
    emit: EventEmitter

    @property
    def steps(self) -> list[str]:
        """The ids of the steps that run."""
        return [step.id for step in self.plan.steps] if self.body.step is None else [self.body.step]

    async def run(self, tell: Observer) -> LocalResult:
        """Run it in this process."""
        stubs = Stubs(as_stubs(self.body.pins))
        if self.body.step is None:
            return await run_plan(
                self.plan,
                input=self.body.input,
                vars=self.vars,
                stubs=stubs,
                credentials=self._credential,
                execution_id=self.id,
                find_workflow=self.called.get,
                observer=tell,
                emit=self.emit,
            )
        record = await run_step(
            self.plan,
            self.body.step,
            outputs=self.body.pins,
            input=self.body.input,
            vars=self.vars,
            stubs=stubs.without(self.body.step),
            credentials=self._credential,
            find_workflow=self.called.get,
            emit=self.emit,
        )
        tell(record)
        status: FinalStatus = "success" if record.status == "success" else "failed"
        return LocalResult(status, record.output, record.error, {record.id: record})

    async def _credential(self, provider: str) -> ModelCredential:
        found = model_credential(self.settings, provider)
        if found is None:
            message = f"there is no usable credential for {provider!r}"
            raise StepFailedError("credential_error", message, retryable=False)
        return found


async def prepare_trial(
    session: AsyncSession,
    caller: Caller,
    settings: Settings,
    database: Database,
    plans: PlanCache,
    agent_id: UUID,
    body: TrialCreate,
) -> Trial:
    """Return a test of an agent's draft.

    :raises Problem: 404; 422 where the draft has errors, or something is not pinned that has to be.
    """
    draft = await AgentService(session, caller).draft(agent_id)
    compilation = await asyncio.to_thread(
        compile_workflow,
        draft.source,
        organization=caller.organization,
        isolation=settings.isolation,
    )
    plan = plan_of(compilation)
    found = await find_called(session, caller.organization_id, plan)
    called = {workflow_id: each.plan for workflow_id, each in found.items() if each is not None}
    if body.step is not None:
        check_step(plan, body.step)
    check_pins(plan, body.pins, called)
    check_effects(plan, body.pins, called, step_id=body.step, live=body.live)
    plan = without_pods(plan, body.pins)
    called = {workflow_id: without_pods(child, body.pins, f"{workflow_id}.") for workflow_id, child in called.items()}
    names = {*plan.vars, *(name for child in called.values() for name in child.vars)}
    variables = VariableRepository(session, caller.organization_id)
    values = (await variables.snapshot(tuple(sorted(names)), DEFAULT_ENVIRONMENT)).values
    test_id = f"test-{uuid4()}"
    source = f"/{caller.organization}/workflows/{plan.workflow_id}/tests/{test_id}"
    emit = partial(_emit, database, caller.organization_id, settings, plans, source)
    return Trial(test_id, plan, body, values | body.vars, called, settings, emit)


async def _emit(
    database: Database,
    organization_id: UUID,
    settings: Settings,
    plans: PlanCache,
    source: str,
    key: StepKey,
    event_type: str,
    data: JsonValue,
) -> str:
    """Raise an event for real: only a test that was asked to be live comes here."""
    identifier = event_id(key.execution_id, key.epoch, key.step_id)
    event = CloudEvent(id=identifier, source=source, type=event_type, subject=None, time=None, data=data)
    async with database.transaction(organization_id) as session:
        await EventService(session, organization_id, settings, plans).hear(event, depth=1)
    return identifier
