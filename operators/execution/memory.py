"""An execution store in memory: for runs in one process and as the model of what a store promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from pydantic import JsonValue

from compiler.plan import Plan
from operators.execution.calls import CALL_TRIGGER, call_refusal, unknown_version, unknown_workflow
from operators.execution.ending import CANCELLED
from operators.execution.flow import Flow, is_decided
from operators.execution.identity import event_id
from operators.execution.inputs import input_error
from operators.execution.memory_approvals import StoredApproval
from operators.execution.records import (
    AnswerReceipt,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalState,
    ChildRequest,
    ChildState,
    Decision,
    Emission,
    EmittedEvent,
    ExecutionInfo,
    ExecutionState,
    ExecutionStatus,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    News,
    PodSettings,
    Redactions,
    Settling,
    StepError,
    StepRecord,
    StoredOutput,
)
from operators.execution.store import ExecutionEndedError, LeaseHeldError, RejectedError, StaleLeaseError
from operators.steps.base import Credentials

EPOCH = 0
"""Nobody runs again on purpose here what has succeeded."""


@dataclass(slots=True)
class _Lease:
    owner: str
    token: int
    expires: float


@dataclass(slots=True)
class StoredExecution:
    """An execution as the store keeps it; read it, never change it."""

    plan: Plan
    info: ExecutionInfo
    input: JsonValue
    trigger: JsonValue
    vars: dict[str, JsonValue]
    status: ExecutionStatus = "pending"
    output: JsonValue = None
    error: StepError | None = None
    steps: dict[str, StepRecord] = field(default_factory=dict)
    halted: bool = False
    cancelled: bool = False
    events: dict[str, Emission] = field(default_factory=dict)
    clear_number: int = 0
    since: datetime | None = None
    plan_digest: str | None = None
    last_token: int = 0
    leases: dict[str, _Lease] = field(default_factory=dict)
    approvals: dict[str, StoredApproval] = field(default_factory=dict)
    callers: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the execution has its final status."""
        return self.status in ("success", "failed", "cancelled")


async def _no_credential(provider: str) -> ModelCredential:
    return ModelCredential(provider=provider)


class Workflows(Protocol):
    """The other workflows of a run in one process."""

    def find(self, workflow_id: str) -> Plan | None:
        """Return a workflow's plan; None where there is none of this id.

        :raises ValueError: There is one, but it has errors.
        """
        ...

    def launch(self, child: StoredExecution) -> None:
        """Begin to run an accepted execution."""
        ...


class InMemoryStore:
    """Implements ``ExecutionStore`` with fencing and expiring leases.

    :param credentials: Gives model keys; without it the test model answers.
    :param monotonic: Clock of the leases, in seconds.
    :param now: Clock of the approvals' time-outs, UTC.
    :param ttl_seconds: How long a lease lives without a heartbeat.
    :param workflows: What ``workflow`` steps may call; without it nothing.
    """

    def __init__(
        self,
        *,
        credentials: Credentials = _no_credential,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        ttl_seconds: float = 15.0,
        workflows: Workflows | None = None,
    ) -> None:
        self._credentials = credentials
        self._monotonic = monotonic
        self._now = now
        self._ttl = ttl_seconds
        self._workflows = workflows
        self._executions: dict[str, StoredExecution] = {}
        self._news = asyncio.Event()
        self._asked = 0

    def accept(
        self,
        execution_id: str,
        plan: Plan,
        *,
        input: JsonValue = None,
        trigger: JsonValue = None,
        vars: dict[str, JsonValue] | None = None,
        started_at: datetime | None = None,
        version: int = 1,
        callers: tuple[str, ...] = (),
    ) -> StoredExecution:
        """Add a pending execution.

        :param callers: The workflows whose steps called one another down to this execution.
        """
        started = (started_at or datetime.now(UTC)).isoformat()
        info = ExecutionInfo(id=execution_id, workflow_id=plan.workflow_id, version=version, started_at=started)
        execution = StoredExecution(plan, info, input, trigger, vars or {}, callers=callers)
        self._executions[execution_id] = execution
        return execution

    def cancel(self, execution_id: str) -> None:
        """Cancel an execution: at once where no runner is at work, else by telling the runners. An ended one stays."""
        execution = self.execution(execution_id)
        if execution.ended:
            return
        execution.halted = execution.cancelled = True
        now = self._monotonic()
        if all(lease.expires <= now for lease in execution.leases.values()):
            fate = Flow(execution.plan).aftermath(execution.steps)
            execution.steps.update((step_id, StepRecord(id=step_id, status=status)) for step_id, status in fate.items())
            execution.status, execution.error = "cancelled", CANCELLED
        self._tell()

    def execution(self, execution_id: str) -> StoredExecution:
        """Return an execution.

        :raises RejectedError: There is none of this id.
        """
        try:
            return self._executions[execution_id]
        except KeyError:
            raise RejectedError(f"no execution {execution_id!r}") from None

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        """Take or renew the lease of a unit; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        plan = execution.plan
        if (request.organization, request.workflow_id) != (plan.organization, plan.workflow_id):
            raise RejectedError(f"execution {execution_id!r} is not of workflow {request.workflow_id!r}")
        if execution.plan_digest not in (None, request.plan_digest):
            raise RejectedError(f"execution {execution_id!r} runs on another version of its workflow")
        if request.clear_number > execution.clear_number:
            self._reopen(execution, request.clear_number)
        if execution.ended:
            raise ExecutionEndedError(execution_id, execution.status)
        held = execution.leases.get(request.unit)
        now = self._monotonic()
        if held is not None and held.owner != request.owner and held.expires > now:
            raise LeaseHeldError(request.unit, held.expires - now)
        execution.last_token += 1
        execution.leases[request.unit] = _Lease(request.owner, execution.last_token, now + self._ttl)
        execution.status = "running"
        execution.plan_digest = request.plan_digest
        return self._grant(execution)

    def _grant(self, execution: StoredExecution) -> LeaseGrant:
        return LeaseGrant(
            token=execution.last_token,
            ttl_seconds=self._ttl,
            heartbeat_seconds=self._ttl / 3,
            epoch=EPOCH,
            life=execution.clear_number,
            since=execution.since,
            execution=execution.info,
            input=execution.input,
            trigger=execution.trigger,
            vars=execution.vars,
            steps=dict(execution.steps),
            halted=execution.halted,
            cancelled=execution.cancelled,
        )

    def _reopen(self, execution: StoredExecution, clear_number: int) -> None:
        """Begin again where it failed. Older leases end, so that results of the first life are refused."""
        execution.clear_number, execution.since = clear_number, self._now()
        execution.steps = Flow(execution.plan).kept(execution.steps)
        execution.status, execution.output, execution.error = "running", None, None
        execution.halted = execution.cancelled = False
        execution.leases.clear()
        # What runs again is asked again.
        execution.approvals = {name: each for name, each in execution.approvals.items() if name in execution.steps}

    async def heartbeat(self, execution_id: str, unit: str, token: int) -> ExecutionState:
        """Extend a lease; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        lease = self._current(execution, unit, token)
        lease.expires = self._monotonic() + self._ttl
        return self._state(execution, unit)

    async def journal(self, execution_id: str, entry: Journaling) -> ExecutionState:
        """Store step results; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        lease = self._current(execution, entry.unit, entry.token)
        if execution.ended:
            raise StaleLeaseError(f"execution {execution_id!r} has ended")
        lease.expires = self._monotonic() + self._ttl
        execution.steps.update((record.id, record) for record in entry.steps)
        for step_id in entry.running:
            execution.steps.setdefault(step_id, StepRecord(id=step_id, status="running"))
        if entry.halt:
            execution.halted = True
            self._tell()
        return self._state(execution, entry.unit)

    async def settle(self, execution_id: str, entry: Settling) -> ExecutionState:
        """Give a lease back; see ``ExecutionStore``. Its token stays good for ``finish`` until the next lease."""
        execution = self.execution(execution_id)
        self._current(execution, entry.unit, entry.token).expires = self._monotonic()
        state = self._state(execution, entry.unit)
        state.steps = dict(execution.steps)
        return state

    async def finish(self, execution_id: str, entry: Finish) -> ExecutionState:
        """End an execution; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        self._current(execution, entry.unit, entry.token)
        if not execution.ended:
            for record in entry.steps:
                if not is_decided(execution.steps.get(record.id)):
                    execution.steps[record.id] = record
            execution.status, execution.output, execution.error = entry.status, entry.output, entry.error
            self._tell()
        return self._state(execution, entry.unit)

    async def keep_output(self, execution_id: str, stored: StoredOutput, data: bytes) -> bool:
        """Tell that every output belongs into this journal: it is in memory."""
        return False

    async def load_output(self, execution_id: str, stored: StoredOutput) -> bytes:
        """Refuse: nothing is kept elsewhere."""
        raise RejectedError(f"no output {stored.sha256} is kept here")

    async def watch(self, execution_id: str, awaited: Sequence[str]) -> News:
        """Return when there is news; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        while True:
            news = News(halted=execution.halted or execution.ended, done=any(map(self._is_there, awaited)))
            if news.halted or news.done:
                return news
            await self._news.wait()

    def _is_there(self, awaited: str) -> bool:
        """Tell whether an execution has ended or an approval is decided."""
        other = self._executions.get(awaited)
        approval = self._approval(awaited)
        return (other is not None and other.ended) or (approval is not None and approval.is_decided(self._now()))

    def _approval(self, approval_id: str) -> StoredApproval | None:
        everyone = (each for execution in self._executions.values() for each in execution.approvals.values())
        return next((each for each in everyone if each.id == approval_id), None)

    async def ask_approval(self, execution_id: str, step_id: str, request: ApprovalRequest) -> ApprovalState:
        """Ask for a decision; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        if execution.ended or request.epoch != EPOCH:
            raise StaleLeaseError(f"execution {execution_id!r} has ended, or is in another epoch")
        if step_id not in execution.approvals:
            self._asked += 1
            execution.approvals[step_id] = StoredApproval(f"approval-{self._asked}", request, self._now())
        return execution.approvals[step_id].state(self._now())

    async def answer_approval(self, execution_id: str, step_id: str, answer: ApprovalAnswer) -> AnswerReceipt:
        """Hand in an answer; see ``ExecutionStore``."""
        execution = self.execution(execution_id)
        approval = execution.approvals.get(step_id)
        if approval is None or execution.ended or is_decided(execution.steps.get(step_id)):
            return AnswerReceipt(refusal="approval_withdrawn")
        refusal = approval.decide(answer.decision, None, answer.by, self._now())
        self._tell()
        return AnswerReceipt(refusal=refusal)

    def decide(self, approval_id: str, decision: Decision, *, by: str = "api", comment: str | None = None) -> None:
        """Decide an open approval, as a person would.

        :raises RejectedError: There is none of this id, or it is decided.
        """
        approval = self._approval(approval_id)
        refusal = "not_found" if approval is None else approval.decide(decision, comment, by, self._now())
        if refusal is not None:
            raise RejectedError(f"the approval {approval_id!r} cannot be decided: {refusal}")
        self._tell()

    def _tell(self) -> None:
        """Wake who watches; each looks for itself whether the news is for it."""
        self._news.set()
        self._news = asyncio.Event()

    async def start_child(self, execution_id: str, request: ChildRequest) -> ChildState:
        """Start an execution of another workflow; see ``ExecutionStore``."""
        parent = self.execution(execution_id)
        if request.key not in self._executions:
            refused = self._call(parent, request)
            if refused is not None:
                return ChildState(refused=refused)
        child = self.execution(request.key)
        return ChildState(
            execution_id=child.info.id,
            status=child.status,
            output=child.output,
            error=child.error,
            accepted_at=datetime.fromisoformat(child.info.started_at),
        )

    def _call(self, parent: StoredExecution, request: ChildRequest) -> StepError | None:
        """Start a child; return why that cannot be."""
        callers = (*parent.callers, parent.plan.workflow_id)
        if (refused := call_refusal(callers, request.workflow_id)) is not None:
            return refused
        try:
            plan = self._workflows.find(request.workflow_id) if self._workflows is not None else None
        except ValueError as error:
            return StepError(code="invalid_workflow", message=str(error))
        if plan is None or self._workflows is None:
            return unknown_workflow(request.workflow_id)
        if request.version is not None and str(request.version) != plan.label:
            found = f"the one that was found has the label {plan.label!r}. Only publishing gives numbers"
            return unknown_version(request.workflow_id, request.version, found)
        if (problem := input_error(plan, request.input)) is not None:
            return StepError(code="invalid_input", message=problem)
        trigger = dict(CALL_TRIGGER)
        child = self.accept(request.key, plan, input=request.input, trigger=trigger, vars=parent.vars, callers=callers)
        self._workflows.launch(child)
        return None

    async def cancel_child(self, execution_id: str, child_id: str) -> None:
        """Cancel a child; see ``ExecutionStore``."""
        self.execution(execution_id)
        if child_id in self._executions:
            self.cancel(child_id)

    async def model_credential(self, execution_id: str, provider: str) -> ModelCredential:
        """Return a model key; see ``ExecutionStore``."""
        self.execution(execution_id)
        return await self._credentials(provider)

    async def redactions(self, execution_id: str) -> Redactions:
        """Return none: there are no organisations; see ``ExecutionStore``."""
        self.execution(execution_id)
        return Redactions()

    async def pod_settings(self, execution_id: str) -> PodSettings:
        """Refuse: there is no Kubernetes; see ``ExecutionStore``."""
        raise RejectedError("there is no Kubernetes here")

    async def emit_event(self, execution_id: str, emission: Emission) -> EmittedEvent:
        """Record an event; see ``ExecutionStore``. Nobody hears it: there is one workflow only."""
        execution = self.execution(execution_id)
        if execution.ended:
            raise ExecutionEndedError(execution_id, execution.status)
        identifier = event_id(execution_id, emission.epoch, emission.step_id)
        execution.events.setdefault(identifier, emission)
        return EmittedEvent(event_id=identifier)

    def _current(self, execution: StoredExecution, unit: str, token: int) -> _Lease:
        lease = execution.leases.get(unit)
        if lease is None or lease.token != token:
            raise StaleLeaseError(f"the lease on unit {unit!r} was taken over")
        return lease

    def _state(self, execution: StoredExecution, unit: str) -> ExecutionState:
        now = self._monotonic()
        active = [name for name, lease in execution.leases.items() if name != unit and lease.expires > now]
        return ExecutionState(
            status=execution.status, halted=execution.halted, cancelled=execution.cancelled, active_units=active
        )
