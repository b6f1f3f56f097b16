"""Tools of the runner's tests: a clock to move by hand, and step types that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from compiler.plan import Plan, Step
from operators.execution.clock import Clock
from operators.execution.memory import InMemoryStore
from operators.execution.records import LeaseRequest
from operators.execution.runner import UnitOutcome, run_unit, store_services
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices
from operators.steps.registry import HANDLERS
from tests.operators.execution.plans import step

START = datetime(2026, 1, 1, tzinfo=UTC)


class HandClock(Clock):
    """Time stands still; sleepers wake when it is moved over their hour."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    async def move(self, seconds: float) -> None:
        """Pass the time and let everything that follows happen."""
        self.seconds += seconds
        for due, future in self._sleepers:
            if due <= self.seconds and not future.done():
                future.set_result(None)
        await settled()


class ImpatientClock(HandClock):
    """Every sleep ends at once and moves the clock; those of ``heartbeat`` seconds never end."""

    def __init__(self, heartbeat: float = 7.0) -> None:
        super().__init__()
        self._heartbeat = heartbeat

    async def sleep(self, seconds: float) -> None:
        if seconds == self._heartbeat:
            await asyncio.Event().wait()
        self.slept.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


async def settled() -> None:
    """Let every task run until all wait."""
    for _ in range(50):
        await asyncio.sleep(0)


class Scripted:
    """A step type whose calls a test answers: ``calls[step id]`` counts, ``script`` says what a call does."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.started: dict[str, asyncio.Event] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.script: dict[str, Callable[[int], Awaitable[StepResult] | StepResult]] = {}

    def render(self, step: Step, scope: Scope) -> str:
        return step.id

    async def call(self, request: str, services: StepServices, key: StepKey) -> StepResult:
        self.calls[request] = self.calls.get(request, 0) + 1
        self.started.setdefault(request, asyncio.Event()).set()
        if request in self.gates:
            await self.gates[request].wait()
        if request in self.script:
            result = self.script[request](self.calls[request])
            return result if isinstance(result, StepResult) else await result
        return StepResult({"from": request})

    def gate(self, *step_ids: str) -> None:
        """Hold the calls of steps until :meth:`open`."""
        for step_id in step_ids:
            self.gates[step_id] = asyncio.Event()

    def open(self, *step_ids: str) -> None:
        for step_id in step_ids:
            self.gates[step_id].set()

    async def begun(self, step_id: str) -> None:
        """Return when a call of the step has begun."""
        await asyncio.wait_for(self.started.setdefault(step_id, asyncio.Event()).wait(), 10)


@contextmanager
def scripted_type() -> Iterator[Scripted]:
    """Make steps of the type ``scripted`` runnable."""
    handler = Scripted()
    HANDLERS["scripted"] = handler
    try:
        yield handler
    finally:
        del HANDLERS["scripted"]


def scripted(step_id: str, **fields: Any) -> Step:
    """A step of the type ``scripted``."""
    return step(step_id, type="scripted", **fields)


class Run:
    """One execution of a plan in an in-memory store."""

    def __init__(self, plan: Plan, *, input: JsonValue = None, clock: HandClock | None = None) -> None:
        self.plan = plan
        self.clock = clock or HandClock()
        self.store = InMemoryStore(monotonic=self.clock.monotonic, now=self.clock.now, ttl_seconds=21)
        self.execution = self.store.accept("run", plan, input=input, started_at=START)

    async def unit(self, unit_id: str = "all", *, owner: str = "one", store: Any = None, **fields: Any) -> UnitOutcome:
        """Run one unit."""
        store = store or self.store
        services = store_services(store, "run", self.clock)
        try:
            return await run_unit(
                self.plan,
                unit_id,
                store,
                services,
                execution_id="run",
                owner=owner,
                plan_digest="digest",
                clock=self.clock,
                **fields,
            )
        finally:
            await services.close()

    def statuses(self) -> dict[str, str]:
        """Return the journal's statuses."""
        return {
            step.id: self.execution.steps[step.id].status for step in self.plan.steps if step.id in self.execution.steps
        }


def fails(code: str = "model_error", *, retryable: bool = True) -> Any:
    """Return a script by which a step fails."""

    def script(attempt: int) -> StepResult:
        raise StepFailedError(code, f"attempt {attempt}", retryable=retryable)

    return script


def lease_request(owner: str, *, unit: str = "all") -> LeaseRequest:
    """Return a request for a unit's lease."""
    return LeaseRequest(organization="test", workflow_id="flow", unit=unit, owner=owner, plan_digest="digest")
