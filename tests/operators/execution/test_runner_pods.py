"""Pods are told of a step's end when the journal has its record, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest

from operators.execution.records import ExecutionState, Journaling
from operators.execution.runner import run_unit, store_services
from operators.execution.store import StaleLeaseError
from operators.pods.pool import PodPool
from tests.operators.execution.plans import plan_of
from tests.operators.execution.runner_tools import Run, Scripted, fails, scripted, scripted_type

pytestmark = pytest.mark.unit


class Pods:
    """Notes what it is told, and the status that the journal has of it then."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.told: list[tuple[str, str]] = []

    def journaled(self, step_ids: Iterable[str]) -> None:
        steps = self._run.execution.steps
        self.told += [(step_id, steps[step_id].status) for step_id in step_ids]

    async def close(self) -> None:
        """Leave nothing."""


@pytest.fixture
def types() -> Iterator[Scripted]:
    with scripted_type() as handler:
        yield handler


class Refusing:
    """A store whose journal takes no record of one step: another runner has the lease by then."""

    def __init__(self, run: Run, step_id: str) -> None:
        self._store = run.store
        self._step_id = step_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def journal(self, execution_id: str, entry: Journaling) -> ExecutionState:
        if any(record.id == self._step_id for record in entry.steps):
            raise StaleLeaseError("another one has it")
        return await self._store.journal(execution_id, entry)


async def run_with(pods: Pods, run: Run, store: Any = None) -> None:
    services = store_services(run.store, "run", run.clock)
    services.pods = cast("PodPool", pods)
    await run_unit(
        run.plan, "all", store or run.store, services, execution_id="run", owner="one", plan_digest="digest",
        clock=run.clock,
    )  # fmt: skip


async def test_each_end_is_told_after_it_is_kept(types: Scripted) -> None:
    types.script["b"] = fails(retryable=False)
    run = Run(plan_of(scripted("a", next="b"), scripted("b")))
    pods = Pods(run)
    await run_with(pods, run)
    assert pods.told == [("a", "success"), ("b", "failed")]


async def test_what_is_not_kept_is_not_told_and_who_goes_on_is_told_of_what_was(types: Scripted) -> None:
    run = Run(plan_of(scripted("a", next="b"), scripted("b")))
    first, second = Pods(run), Pods(run)
    with pytest.raises(StaleLeaseError):
        await run_with(first, run, Refusing(run, "b"))
    assert first.told == [("a", "success")]
    await run_with(second, run)
    assert second.told == [("a", "success"), ("b", "success")]
