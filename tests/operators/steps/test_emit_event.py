"""``emit_event``: its type and data are evaluated, and an attempt that is made again emits nothing new."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.plan import Retry
from operators.execution.memory import InMemoryStore
from operators.execution.records import Emission, EmittedEvent
from operators.execution.runner import store_services
from operators.execution.store import DepthExceededError, RejectedError
from operators.steps.base import StepFailedError, StepKey, StepServices
from operators.steps.emit_event import EmitEvent
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import ImpatientClock, Run

pytestmark = pytest.mark.unit

KEY = StepKey("run", 0, "tell")


def tell(event_type: Any = "order.{{ input.kind }}", **fields: Any) -> Any:
    return step("tell", type="emit_event", config={"type": event_type, "data": {"n": "{{ input.n }}"}}, **fields)


async def test_it_is_recorded_with_what_was_evaluated() -> None:
    run = Run(plan_of(tell()), input={"kind": "made", "n": 3})
    assert (await run.unit()).kind == "done"
    [(event_id, emission)] = run.execution.events.items()
    assert run.execution.output == {"tell": {"event_id": event_id}}
    assert (emission.type, emission.data, emission.step_id) == ("order.made", {"n": 3}, "tell")


@pytest.mark.parametrize("value", [7, None, "", "x" * 501, "a\x00b", ["x"]])
def test_a_type_that_is_no_short_text(value: Any) -> None:
    with pytest.raises(StepFailedError) as failed:
        EmitEvent().render(tell("{{ input.t }}"), {"input": {"t": value, "n": 1}})
    assert failed.value.code == "invalid_config"


async def test_nobody_to_tell() -> None:
    async def credential(provider: str) -> Any:
        raise AssertionError

    request = EmitEvent().render(tell("x"), {"input": {"n": 1}})
    with pytest.raises(StepFailedError):
        await EmitEvent().call(request, StepServices(credentials=credential), KEY)


class RefusingStore(InMemoryStore):
    """Refuses every event with an error of the test's choice."""

    def __init__(self, error: RejectedError) -> None:
        super().__init__()
        self.error = error

    async def emit_event(self, execution_id: str, emission: Emission) -> EmittedEvent:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"), [(DepthExceededError("deep"), "depth_exceeded"), (RejectedError("no"), "event_refused")]
)
async def test_refused_for_good(error: RejectedError, code: str) -> None:
    run = Run(plan_of(tell("x", retry=Retry(attempts=3))), input={"n": 1}, clock=ImpatientClock())
    store = RefusingStore(error)
    execution = store.accept("run", run.plan, input={"n": 1}, started_at=run.clock.now())
    services = store_services(store, "run", run.clock)
    try:
        assert (await run.unit(store=store)).failures == (("tell", code),)
    finally:
        await services.close()
    assert execution.steps["tell"].attempts == 1
