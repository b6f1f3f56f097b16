"""``approval``: asked once, waited for, over time, with and without routes, in one process and parked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from compiler.plan import Plan, Step, Unit
from operators.execution.memory_approvals import StoredApproval
from operators.execution.stubs import Stubs
from operators.steps.base import Wake
from tests.operators.execution.plans import plan_of, step
from tests.operators.execution.runner_tools import START, Run, settled

pytestmark = pytest.mark.unit


def ask(config: dict[str, Any] | None = None, **fields: Any) -> Step:
    return step("ask", type="approval", config={"title": "Pay?", **(config or {})}, **fields)


def routed(**config: Any) -> Plan:
    """An approval with both routes."""
    routes = {"approve": "yes", "reject": "no"}
    return plan_of(ask({"routes": routes, **config}, approve="yes", reject="no"), step("yes"), step("no"))


async def asked(run: Run) -> tuple[asyncio.Task[Any], StoredApproval]:
    """Begin a run; return it and what it asks."""
    task = asyncio.create_task(run.unit())
    await settled()
    return task, run.execution.approvals["ask"]


class TestDecided:
    @pytest.mark.parametrize(("decision", "taken", "other"), [("approve", "yes", "no"), ("reject", "no", "yes")])
    async def test_the_decision_chooses_the_route(self, decision: Any, taken: str, other: str) -> None:
        run = Run(routed())
        task, approval = await asked(run)
        await run.clock.move(5)
        run.store.decide(approval.id, decision, by="ann", comment="so be it")
        assert (await asyncio.wait_for(task, 10)).kind == "done"
        assert run.statuses() == {"ask": "success", taken: "success", other: "skipped"}
        at = "2026-01-01T00:00:05+00:00"
        expected = {"decision": decision, "comment": "so be it", "by": "ann", "at": at}
        assert run.execution.steps["ask"].output == expected

    async def test_a_rejection_without_routes_fails_the_step(self) -> None:
        run = Run(plan_of(ask(next="yes"), step("yes")))
        task, approval = await asked(run)
        run.store.decide(approval.id, "reject", comment="too much")
        assert (await asyncio.wait_for(task, 10)).failures == (("ask", "approval_rejected"),)
        error = run.execution.steps["ask"].error
        assert error is not None
        assert error.message == "the approval was rejected: too much"

    async def test_a_rejection_that_has_no_route_of_its_own_takes_none(self) -> None:
        run = Run(plan_of(ask({"routes": {"approve": "yes"}}, approve="yes"), step("yes")))
        task, approval = await asked(run)
        run.store.decide(approval.id, "reject")
        assert (await asyncio.wait_for(task, 10)).kind == "done"
        assert run.statuses() == {"ask": "success", "yes": "skipped"}


class TestTimeOut:
    @pytest.mark.parametrize(("policy", "taken"), [("approve", "yes"), ("reject", "no")])
    async def test_the_policy_takes_the_routes(self, policy: str, taken: str) -> None:
        run = Run(routed(timeout=60.0, on_timeout=policy))
        task, _ = await asked(run)
        await run.clock.move(59)
        assert run.statuses() == {"ask": "running"}
        await run.clock.move(1)
        await asyncio.wait_for(task, 10)
        assert run.statuses()[taken] == "success"
        output = run.execution.steps["ask"].output
        assert output == {"decision": policy, "comment": None, "by": "timeout", "at": "2026-01-01T00:01:00+00:00"}

    async def test_without_a_policy_the_step_fails(self) -> None:
        run = Run(routed(timeout=60.0, on_timeout=None))
        task, _ = await asked(run)
        await run.clock.move(60)
        assert (await asyncio.wait_for(task, 10)).failures == (("ask", "approval_timeout"),)

    async def test_the_tasks_own_time_out_bounds_it_too(self) -> None:
        run = Run(plan_of(ask({"timeout": 60.0, "on_timeout": "approve"}, timeout_seconds=30.0)))
        task, _ = await asked(run)
        await run.clock.move(30)
        assert (await asyncio.wait_for(task, 10)).failures == (("ask", "timeout"),)


class TestParked:
    def run(self, **config: Any) -> Run:
        return Run(plan_of(ask(config), units=(Unit(id="ask", kind="approval", steps=("ask",)),)))

    async def test_it_waits_for_the_approval_and_its_time_out(self) -> None:
        run = self.run(timeout=60.0)
        outcome = await run.unit("ask", parks=True)
        approval = run.execution.approvals["ask"]
        assert outcome.wake is not None
        assert outcome.wake == Wake(until=outcome.wake.until, awaited=(approval.id,))
        assert (outcome.wake.until is not None and outcome.wake.until - START).seconds == 60  # type: ignore[union-attr]

    async def test_another_process_asks_no_second_time(self) -> None:
        run = self.run()
        first = await run.unit("ask", parks=True)
        assert first.wake is not None
        assert first.wake.until is None
        again = await run.unit("ask", parks=True, owner="two")
        assert again.wake == first.wake
        run.store.decide(first.wake.awaited[0], "approve")
        assert (await run.unit("ask", parks=True, owner="three")).kind == "done"


class TestWhatIsAsked:
    async def test_title_body_and_assignees_are_rendered(self) -> None:
        config = {"title": "{{ input }}", "body": "For {{ input.a }}", "assignees": ["ann", "{{ input.more }}"]}
        run = Run(plan_of(ask(config)), input={"a": 1, "more": ["bob", "cyd"]})
        task, approval = await asked(run)
        assert approval.request.title == '{"a":1,"more":["bob","cyd"]}'
        assert (approval.request.body, approval.request.assignees) == ("For 1", ["ann", "bob", "cyd"])
        task.cancel()

    @pytest.mark.parametrize("more", [[], 7, [""], ["x" * 201], [["bob"]]])
    async def test_assignees_that_are_none(self, more: Any) -> None:
        run = Run(plan_of(ask({"assignees": ["{{ input.more }}"]})), input={"more": more})
        assert (await run.unit()).failures == (("ask", "invalid_config"),)
        assert run.execution.approvals == {}


class TestStubs:
    async def test_a_stub_is_the_output(self) -> None:
        run = Run(routed())
        await run.unit(stubs=Stubs({"ask": {"decision": "approve"}}))
        assert run.statuses() == {"ask": "success", "yes": "success", "no": "skipped"}
        assert run.execution.approvals == {}

    async def test_a_stubbed_rejection_means_what_a_real_one_does(self) -> None:
        run = Run(plan_of(ask()))
        outcome = await run.unit(stubs=Stubs({"ask": {"decision": "reject", "comment": "no"}}))
        assert outcome.failures == (("ask", "approval_rejected"),)
