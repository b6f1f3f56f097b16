"""Runs one unit of an execution: lease, steps, journal, end. Free of Airflow.

The steps of a unit are coroutines, as parallel as the edges allow. A step's result is journaled before its successors
start, and what the journal already has is never run again: after a crash the next runner goes on where this one
stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Literal

from pydantic import JsonValue

from compiler.plan import Plan, Step, Unit
from operators.execution.attempts import StepRun
from operators.execution.children import Children
from operators.execution.clock import Clock, SetClock
from operators.execution.ending import ending
from operators.execution.flow import Flow, Progress, is_decided, is_waiting
from operators.execution.groups import root_cause
from operators.execution.journaling import JournalWriter
from operators.execution.mapping import Host, MapRun
from operators.execution.outputs import Outputs
from operators.execution.patience import is_transient, patiently
from operators.execution.records import (
    ApprovalRequest,
    ApprovalState,
    Emission,
    ExecutionState,
    ExecutionStatus,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    RunStart,
    Settling,
    StepRecord,
)
from operators.execution.scope import enter, scope_of
from operators.execution.store import (
    DepthExceededError,
    ExecutionEndedError,
    ExecutionStore,
    LeaseHeldError,
    RejectedError,
    StaleLeaseError,
    StoreError,
)
from operators.execution.stubs import Stubs
from operators.execution.waiting import HaltedWhileWaitingError, ParkedError, after, earliest, hold, park, together
from operators.steps.base import StepFailedError, StepKey, StepServices, Wake

OutcomeKind = Literal["done", "skipped", "failed", "undecided", "waiting", "ended"]
Observer = Callable[[StepRecord], None]

GIVE_BACK_SECONDS = 2.0
"""Airflow kills a task soon after it told it to stop."""


@dataclass(frozen=True, slots=True)
class UnitOutcome:
    """How a unit's run ended.

    ``done``: its steps are decided and the execution did not fail; ``skipped``: the same, all of them skipped;
    ``failed``: the execution failed or was cancelled, here or elsewhere; ``undecided``: a first step waits for an edge
    that is not decided yet, ask again later; ``waiting``: its step waits, run the unit again at ``wake``; ``ended``:
    the execution was over before the unit began.

    :param status: The execution's status as last heard.
    :param failures: ``(step id, error code)`` of the unhandled failures known.
    :param execution_id: The execution's own id.
    """

    kind: OutcomeKind
    status: ExecutionStatus
    failures: tuple[tuple[str, str], ...] = ()
    wake: Wake | None = None
    execution_id: str = ""


def store_services(store: ExecutionStore, execution_id: str, clock: Clock | None = None) -> StepServices:
    """Return services that come from the store; each credential is asked for once."""
    known: dict[str, ModelCredential] = {}

    async def credential(provider: str) -> ModelCredential:
        if provider not in known:
            try:
                call = partial(store.model_credential, execution_id, provider)
                known[provider] = await patiently(call, clock or Clock())
            except RejectedError:
                raise StepFailedError(
                    "credential_error", f"there is no usable credential for {provider!r}", retryable=False
                ) from None
        return known[provider]

    async def approval(key: StepKey, request: ApprovalRequest) -> ApprovalState:
        return await patiently(lambda: store.ask_approval(key.execution_id, key.step_id, request), clock or Clock())

    children = Children(store, execution_id, clock or Clock())

    async def emit(key: StepKey, event_type: str, data: JsonValue) -> str:
        emission = Emission(epoch=key.epoch, step_id=key.step_id, type=event_type, data=data)
        try:
            return (await patiently(partial(store.emit_event, execution_id, emission), clock or Clock())).event_id
        except DepthExceededError:
            message = "an execution must not be the last of too long a row that started one another; look for a loop"
            raise StepFailedError("depth_exceeded", message, retryable=False) from None
        except RejectedError:
            raise StepFailedError("event_refused", "the control plane refused the event", retryable=False) from None

    return StepServices(
        credentials=credential, approvals=approval, start_child=children.start, cancel_child=children.cancel, emit=emit
    )


async def run_unit(
    plan: Plan,
    unit_id: str,
    store: ExecutionStore,
    services: StepServices,
    *,
    execution_id: str,
    owner: str,
    plan_digest: str,
    clear_number: int = 0,
    run_start: RunStart | None = None,
    flow: Flow | None = None,
    stubs: Stubs | None = None,
    clock: Clock | None = None,
    observer: Observer | None = None,
    parks: bool = False,
) -> UnitOutcome:
    """Run one unit of an execution to its end.

    Waits while another runner holds the lease. The caller closes ``services``.

    :param parks: A step that waits gives the process back (outcome ``waiting``) instead of holding it.

    :param execution_id: The execution's id, or the id of a run that was started in Airflow.
    :param owner: Unique per process try.
    :param run_start: How Airflow's run began, where there is one.
    :param flow: The plan's edges, where the caller has them already.
    :param observer: Called with each final record once it is journaled.
    :raises StaleLeaseError: Another runner took over; everything was cancelled at once.
    :raises StoreError: The store refused, or stayed away for about a minute.
    """
    clock = clock or Clock()
    unit = next(unit for unit in plan.units if unit.id == unit_id)
    request = LeaseRequest(
        organization=plan.organization,
        workflow_id=plan.workflow_id,
        unit=unit_id,
        owner=owner,
        plan_digest=plan_digest,
        clear_number=clear_number,
        run=run_start,
    )
    try:
        grant = await _lease(store, execution_id, request, clock)
    except ExecutionEndedError as ended:
        return UnitOutcome("ended", ended.status)
    if grant.now is not None:
        clock = SetClock(clock, grant.now)
    flow = flow or Flow(plan)
    outputs = Outputs(store, grant.execution.id, clock)
    await outputs.fill_for_unit(grant.steps, (flow.steps[step_id] for step_id in unit.steps))
    run = _UnitRun(flow, unit, store, services, grant, clock, stubs or Stubs(), observer, outputs, parks=parks)
    try:
        await run.execute()
    except asyncio.CancelledError:
        await run.give_back()
        raise
    return await run.settle()


async def _lease(store: ExecutionStore, execution_id: str, request: LeaseRequest, clock: Clock) -> LeaseGrant:
    while True:
        try:
            return await patiently(lambda: store.lease(execution_id, request), clock)
        except LeaseHeldError as held:
            await clock.sleep(max(held.retry_after, 0.05))


class _UnitRun:
    """A leased unit."""

    def __init__(
        self,
        flow: Flow,
        unit: Unit,
        store: ExecutionStore,
        services: StepServices,
        grant: LeaseGrant,
        clock: Clock,
        stubs: Stubs,
        observer: Observer | None,
        outputs: Outputs,
        *,
        parks: bool,
    ) -> None:
        self._outputs = outputs
        self._flow = flow
        self._unit = unit
        self._store = store
        self._services = services
        self._grant = grant
        self._clock = clock
        self._stubs = stubs
        self._observer = observer
        self._execution_id = grant.execution.id
        self._scope = scope_of(flow.plan, grant)
        self._progress = Progress(flow, grant.steps, unit.steps)
        self._running: dict[str, StepRun] = {}
        self._wait = park if parks else hold(store, self._execution_id, clock)
        self._wakes: list[Wake] = []
        self._host = Host(grant.steps, self._running, self._step_run, self._write, lambda: self._stopped)
        self._writer = JournalWriter(
            store, self._execution_id, unit.id, grant.token, clock, lambda: list(self._running)
        )
        self._stopped = grant.halted or bool(flow.unhandled(grant.steps))
        self._timed_out = False
        self._cancelled = grant.cancelled
        self._limit: asyncio.Timeout | None = None

    async def execute(self) -> None:
        """Run what may run; return when nothing runs and nothing more may start."""
        # What failed may run again, in this life of the execution.
        self._tell_pods(record for record in self._grant.steps.values() if record.status == "success")
        left = self._seconds_left()
        if _passed(left):
            self._timed_out = True
            return
        try:
            async with asyncio.timeout(left) as limit:
                self._limit = limit
                await self._work()
        except TimeoutError:
            if not limit.expired():
                raise
            self._limit = None
            self._timed_out = not self._cancelled
            await self._cut_off()
        finally:
            self._limit = None

    def _seconds_left(self) -> float | None:
        """Return how long the workflow's time-out leaves; it counts from acceptance, or the last reopening."""
        if self._flow.plan.timeout_seconds is None:
            return None
        since = self._grant.since or datetime.fromisoformat(self._grant.execution.started_at)
        return self._flow.plan.timeout_seconds - (self._clock.now() - since).total_seconds()

    async def _work(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                heart = group.create_task(self._heartbeats())
                async with asyncio.TaskGroup() as steps:
                    await self._begin(steps)
                heart.cancel()
        except BaseExceptionGroup as errors:
            raise root_cause(errors) from None

    async def _begin(self, group: asyncio.TaskGroup) -> None:
        advance = self._progress.open()
        if self._stopped:
            return
        self._start(group, advance.ready)
        skipped = self._skipped(advance.skipped)
        if skipped:
            await self._write(skipped)
        elif self._running:
            await self._announce()

    def _start(self, group: asyncio.TaskGroup, step_ids: Iterable[str]) -> None:
        for step_id in step_ids:
            run = self._step_run(self._flow.steps[step_id], step_id)
            self._running[step_id] = run
            enter(self._scope, run.record)
            group.create_task(self._run(group, run))

    async def _run(self, group: asyncio.TaskGroup, run: StepRun) -> None:
        """Run a step, journal its record and the skips that follow from it, then start its successors."""
        record = run.record
        try:
            await run.run(self._scope)
        except ParkedError as parked:
            self._wakes.append(parked.wake)
            del self._running[record.id]
            await self._writer.write([record])
            return
        except HaltedWhileWaitingError:
            # It stays undecided: whoever ends the execution says what becomes of it.
            self._stopped = True
            del self._running[record.id]
            return
        del self._running[record.id]
        unhandled = self._flow.is_unhandled(record)
        # From here on nothing starts, even while the record is on its way to the journal.
        self._stopped = self._stopped or unhandled
        advance = self._progress.add(record)
        enter(self._scope, record)
        await self._write([record, *self._skipped(advance.skipped)], halt=unhandled)
        if not self._stopped:
            self._start(group, advance.ready)

    def _step_run(self, step: Step, journal_id: str) -> StepRun:
        known = self._grant.steps.get(journal_id)
        begun = known if is_waiting(known) else None
        key = StepKey(self._execution_id, self._grant.epoch, journal_id)
        make = partial(MapRun, host=self._host) if step.body else StepRun
        return make(
            step,
            key,
            self._services,
            self._clock,
            self._stubs,
            wait=self._wait,
            outputs=self._outputs,
            life=self._grant.life,
            begun=begun,
        )

    def _skipped(self, step_ids: Iterable[str]) -> list[StepRecord]:
        records = [self._progress.journal[step_id] for step_id in step_ids]
        for record in records:
            enter(self._scope, record)
        return records

    async def _write(self, records: list[StepRecord], *, halt: bool = False) -> None:
        await self._writer.write(records, halt=halt)
        self._heard(self._writer.state)
        self._tell_pods(records)
        if self._observer is not None:
            for record in filter(is_decided, records):
                self._observer(record)

    def _tell_pods(self, journaled: Iterable[StepRecord]) -> None:
        if self._services.pods is not None:
            self._services.pods.journaled(record.id for record in journaled if is_decided(record))

    async def _announce(self) -> None:
        await self._writer.announce()
        self._heard(self._writer.state)

    def _heard(self, state: ExecutionState | None) -> None:
        if state is None:
            return
        self._stopped = self._stopped or state.halted
        if state.cancelled and not self._cancelled:
            self._cancelled = True
            if self._limit is not None and not self._limit.expired():
                # As if the time were up: that ends every step of the unit at its next wait.
                self._limit.reschedule(asyncio.get_running_loop().time())

    async def _heartbeats(self) -> None:
        """Keep the lease. After its whole life without an answer it counts as lost."""
        last = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._grant.heartbeat_seconds)
            try:
                state = await self._store.heartbeat(self._execution_id, self._unit.id, self._grant.token)
            except StoreError as error:
                if not is_transient(error):
                    raise
                if self._clock.monotonic() - last > self._grant.ttl_seconds:
                    raise StaleLeaseError(f"no heartbeat of unit {self._unit.id!r} got through") from None
            else:
                last = self._clock.monotonic()
                self._heard(state)

    async def _cut_off(self) -> None:
        """Journal the steps that the workflow's time-out or a cancel ended in the middle."""
        runs = list(self._running.values())
        self._running.clear()
        for run in runs:
            run.close("cancelled")
        await self._write([run.record for run in runs], halt=True)

    async def give_back(self) -> None:
        """Give the lease back where the process is told to stop, so that whoever goes on need not wait for it."""
        entry = Settling(unit=self._unit.id, token=self._grant.token)
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(GIVE_BACK_SECONDS):
                await self._store.settle(self._execution_id, entry)

    async def settle(self) -> UnitOutcome:
        """Give the lease back and, if this was the last unit at work, end the execution."""
        entry = Settling(unit=self._unit.id, token=self._grant.token)
        state = await patiently(lambda: self._store.settle(self._execution_id, entry), self._clock)
        self._heard(state)
        failures = self._flow.unhandled(state.steps)
        failed = bool(failures) or state.halted or self._timed_out or state.status in ("failed", "cancelled")
        complete = not self._flow.undecided(state.steps)
        if complete or (failed and not state.active_units):
            state = await self._finish(state)
            failed = failed or state.status in ("failed", "cancelled")
        kind = self._kind(failed)
        return UnitOutcome(
            kind, state.status, tuple(map(_failure, failures)), self._next_look(kind), self._execution_id
        )

    def _next_look(self, kind: OutcomeKind) -> Wake | None:
        """Return what a parked unit waits for; the workflow's time-out wakes it too."""
        if kind != "waiting":
            return None
        now = self._clock.now()
        wake = together(self._wakes, now)
        return replace(wake, until=earliest(wake.until, after(now, self._seconds_left())))

    async def _finish(self, settled: ExecutionState) -> ExecutionState:
        if not self._flow.undecided(settled.steps) and not self._flow.unhandled(settled.steps):
            await self._outputs.fill_for_end(settled.steps, self._flow.plan)
        finish = ending(
            self._flow,
            settled.steps,
            self._scope,
            unit=self._unit.id,
            token=self._grant.token,
            timed_out=not self._cancelled and (self._timed_out or _passed(self._seconds_left())),
        )
        finish = await self._outputs.keep_of_end(finish, self._flow.plan)
        return await patiently(lambda: self._store.finish(self._execution_id, finish), self._clock)

    def _kind(self, failed: bool) -> OutcomeKind:
        if failed:
            return "failed"
        statuses = {
            self._progress.journal[step].status if step in self._progress.journal else None for step in self._unit.steps
        }
        if statuses == {"skipped"}:
            return "skipped"
        if statuses <= {"success", "failed", "skipped"}:
            return "done"
        return "waiting" if self._wakes else "undecided"


def _passed(seconds_left: float | None) -> bool:
    return seconds_left is not None and seconds_left <= 0


def _failure(record: StepRecord) -> tuple[str, str]:
    return record.id, record.error.code if record.error else "unknown"
