"""Outputs that are too large for the journal: kept elsewhere, and in their places wherever a step reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from compiler.plan import Plan, Retry, Unit
from operators.execution.memory import InMemoryStore
from operators.execution.outputs import INLINE_BYTES
from operators.execution.records import (
    ExecutionState,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    Settling,
    StoredOutput,
)
from operators.execution.runner import run_unit, store_services
from operators.execution.store import OutputRefusedError, RejectedError
from operators.settings import RESULT_MAX_BYTES
from operators.steps.base import StepFailedError, StepResult
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import START, HandClock, ImpatientClock, Scripted, scripted

pytestmark = pytest.mark.unit

LARGE = ["x" * 500_000] * 3


class KeepingStore(InMemoryStore):
    """A store like the control plane's: what is journaled and granted holds no large output."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(monotonic=clock.monotonic, now=clock.now, ttl_seconds=21)
        self.objects: dict[str, bytes] = {}
        self.loads = 0
        self.refuses = False
        self.finishes: list[Finish] = []

    async def keep_output(self, execution_id: str, stored: StoredOutput, data: bytes) -> bool:
        if self.refuses:
            raise OutputRefusedError("it is too much")
        self.objects[stored.sha256] = data
        return True

    async def load_output(self, execution_id: str, stored: StoredOutput) -> bytes:
        self.loads += 1
        if stored.sha256 not in self.objects:
            raise RejectedError("gone")
        return self.objects[stored.sha256]

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        return LeaseGrant.model_validate_json((await super().lease(execution_id, request)).model_dump_json())

    async def journal(self, execution_id: str, entry: Journaling) -> Any:
        return await super().journal(execution_id, Journaling.model_validate_json(entry.model_dump_json()))

    async def settle(self, execution_id: str, entry: Settling) -> Any:
        return ExecutionState.model_validate_json((await super().settle(execution_id, entry)).model_dump_json())

    async def finish(self, execution_id: str, entry: Finish) -> Any:
        self.finishes.append(entry)
        return await super().finish(execution_id, entry)


class Execution:
    """One execution of a plan in such a store."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = ImpatientClock()
        self.store = KeepingStore(self.clock)
        self.row = self.store.accept("run", plan, input={"items": [1, 2]}, started_at=START)

    async def run(self, *unit_ids: str) -> list[str]:
        """Run units, each as a process of its own; return how they ended."""
        kinds = []
        for unit_id in unit_ids:
            services = store_services(self.store, "run", self.clock)
            outcome = await run_unit(
                self.plan, unit_id, self.store, services,
                execution_id="run", owner=unit_id, plan_digest="digest", clock=self.clock,
            )  # fmt: skip
            await services.close()
            kinds.append(outcome.kind)
        return kinds


def two_units(**fields: Any) -> Plan:
    """``a`` makes something large, ``b`` reads it in another unit, ``c`` in a third reads nothing of it."""
    return plan_of(
        scripted("a", next="b c", **fields),
        step("b", config={"set": {"count": "{{ a.output | length }}", "all": "{{ a.output }}"}}),
        step("c", config={"set": {"count": 1}}),
        units=(
            Unit(id="first", steps=("a",)),
            Unit(id="second", steps=("b",), upstream=("first",)),
            Unit(id="third", steps=("c",), upstream=("first",)),
        ),
        has_output=True,
        output="{{ b.output.all }}",
    )


async def test_a_later_unit_sees_the_value(types: Scripted) -> None:
    types.script["a"] = lambda _: StepResult(LARGE)
    execution = Execution(two_units())
    assert await execution.run("first", "third") == ["done", "done"]
    record = execution.row.steps["a"]
    assert record.output is None
    assert record.output_ref is not None
    assert record.output_ref.size == len(execution.store.objects[record.output_ref.sha256]) > INLINE_BYTES
    # Who does not read it does not get it.
    assert execution.store.loads == 0
    assert await execution.run("second") == ["done"]
    assert execution.row.steps["b"].output is None
    (finish,) = execution.store.finishes
    assert (finish.status, finish.output) == ("success", None)
    assert finish.output_ref == record.output_ref
    # What a step reads it gets once, and the end has it from there.
    assert execution.store.loads == 1


async def test_what_fits_is_in_the_journal(types: Scripted) -> None:
    text = "x" * (INLINE_BYTES - 2)
    types.script["a"] = lambda _: StepResult(text)
    execution = Execution(plan_of(scripted("a")))
    await execution.run("all")
    assert (execution.row.steps["a"].output, execution.row.steps["a"].output_ref) == (text, None)
    # With its name it is larger.
    assert execution.store.finishes[0].output_ref is not None


@pytest.mark.parametrize("unit", ["second", "third"])
async def test_a_lost_output_fails_who_reads_it(unit: str, types: Scripted) -> None:
    types.script["a"] = lambda _: StepResult(LARGE)
    execution = Execution(two_units())
    await execution.run("first")
    execution.store.objects.clear()
    assert await execution.run(unit) == (["failed"] if unit == "second" else ["done"])
    if unit == "second":
        error = execution.row.steps["b"].error
        assert error is not None
        assert (error.code, "'a'" in error.message) == ("output_lost", True)


async def test_a_changed_output_is_lost(types: Scripted) -> None:
    types.script["a"] = lambda _: StepResult(LARGE)
    execution = Execution(two_units())
    await execution.run("first")
    (digest,) = execution.store.objects
    execution.store.objects[digest] = b"[1]"
    assert await execution.run("second") == ["failed"]
    error = execution.row.steps["b"].error
    assert error is not None
    assert error.code == "output_lost"


async def test_a_lost_output_of_the_end(types: Scripted) -> None:
    types.script["a"] = lambda _: StepResult(LARGE)
    types.script["z"] = lambda _: StepResult(1)
    plan = plan_of(
        scripted("a", next="z"), scripted("z"),
        units=(Unit(id="first", steps=("a",)), Unit(id="last", steps=("z",), upstream=("first",))),
        has_output=True, output="{{ a.output }}",
    )  # fmt: skip
    execution = Execution(plan)
    await execution.run("first")
    execution.store.objects.clear()
    await execution.run("last")
    (finish,) = execution.store.finishes
    assert finish.status == "failed"
    assert finish.error is not None
    assert finish.error.code == "output_lost"


async def test_what_is_refused_fails_the_step_and_is_not_tried_again(types: Scripted) -> None:
    types.script["a"] = lambda _: StepResult(LARGE)
    execution = Execution(plan_of(scripted("a", retry=Retry(attempts=3))))
    execution.store.refuses = True
    assert await execution.run("all") == ["failed"]
    error = execution.row.steps["a"].error
    assert error is not None
    assert (error.code, types.calls) == ("output_too_large", {"a": 1})


async def test_no_more_than_the_setting_allows(types: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RESULT_MAX_BYTES, "1200000")
    types.script["a"] = lambda _: StepResult(LARGE)
    execution = Execution(plan_of(scripted("a")))
    assert await execution.run("all") == ["failed"]
    assert execution.store.objects == {}


def mapped() -> Plan:
    """A map over two items, one after the other."""
    config = {"over": "{{ input.items }}", "as": "item", "concurrency": 1, "result": "{{ make.output }}"}
    return plan_of(step("each", type="map", config=config, body=(scripted("make"),)))


async def lost_worker(execution: Execution, types: Scripted) -> None:
    """Run until the second item is at work, and lose the process there."""
    second = asyncio.Event()

    async def hangs() -> StepResult:
        second.set()
        await asyncio.Event().wait()
        raise AssertionError

    types.script["make"] = lambda attempt: hangs() if attempt == 2 else StepResult(LARGE)
    task = asyncio.create_task(execution.run("all"))
    await asyncio.wait_for(second.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    types.script["make"] = lambda _: StepResult([*LARGE, 2])


async def test_items_of_a_map_that_goes_on(types: Scripted) -> None:
    execution = Execution(mapped())
    await lost_worker(execution, types)
    assert execution.row.steps["each[0].make"].output is None
    assert await execution.run("all") == ["done"]
    assert types.calls == {"make": 3}
    stored = execution.row.steps["each"].output_ref
    assert stored is not None
    assert orjson.loads(execution.store.objects[stored.sha256]) == [LARGE, [*LARGE, 2]]


async def test_a_lost_item_fails_its_map(types: Scripted) -> None:
    execution = Execution(mapped())
    await lost_worker(execution, types)
    execution.store.objects.clear()
    assert await execution.run("all") == ["failed"]
    error = execution.row.steps["each"].error
    assert error is not None
    assert error.code == "output_lost"


async def test_an_input_too_large_for_another_workflow() -> None:
    from operators.execution.records import ChildRequest

    clock = HandClock()
    services = store_services(KeepingStore(clock), "run", clock)
    with pytest.raises(StepFailedError) as raised:
        await services.start_child(ChildRequest(key="k", workflow_id="other", input="x" * 17_000_000))
    assert raised.value.code == "input_too_large"
