"""What every execution store promises. Subclass :class:`StoreContract` and give it a ``world`` fixture."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from pydantic import JsonValue

from compiler.plan import Plan, plan_digest
from operators.execution.records import (
    ApprovalAnswer,
    ApprovalRequest,
    Emission,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    News,
    Settling,
    StepError,
    StepRecord,
    Usage,
    WebhookAnswer,
)
from operators.execution.store import (
    ExecutionEndedError,
    ExecutionStore,
    LeaseHeldError,
    RejectedError,
    StaleLeaseError,
)
from tests.operators.execution.plans import plan_of, step


def told(news: News) -> News:
    """Return news without the time, which not every store tells."""
    return news.model_copy(update={"now": None})


class World(Protocol):
    """A store under test and the levers around it."""

    store: ExecutionStore

    async def accept(self, plan: Plan, *, input: JsonValue = None) -> str:
        """Publish the plan, accept an execution of it, return the execution's id."""
        ...

    async def cancel(self, execution_id: str) -> None:
        """Ask for the execution to be cancelled."""
        ...

    async def pass_time(self, seconds: float) -> None:
        """Let the leases and the approvals grow older."""
        ...


PLAN = plan_of(step("a", next="b"), step("b"))


def request(owner: str = "one", *, unit: str = "all", plan: Plan = PLAN, **fields: Any) -> LeaseRequest:
    fields = {"workflow_id": plan.workflow_id, "plan_digest": plan_digest(plan.to_bytes()), **fields}
    return LeaseRequest(organization=plan.organization, unit=unit, owner=owner, **fields)


def record(step_id: str = "a", **fields: Any) -> StepRecord:
    return StepRecord(id=step_id, **{"status": "success", **fields})


def entry(grant: LeaseGrant, *records: StepRecord, unit: str = "all", **fields: Any) -> Journaling:
    return Journaling(unit=unit, token=grant.token, steps=list(records), **fields)


def settling(grant: LeaseGrant, unit: str = "all") -> Settling:
    return Settling(unit=unit, token=grant.token)


def finish(grant: LeaseGrant, status: Any = "success", unit: str = "all", **fields: Any) -> Finish:
    return Finish(unit=unit, token=grant.token, status=status, **fields)


def question(**fields: Any) -> ApprovalRequest:
    return ApprovalRequest(**{"epoch": 0, "title": "Pay?", **fields})


class StoreContract:
    """The cases."""

    async def test_a_grant_has_everything_to_begin(self, world: World) -> None:
        execution_id = await world.accept(PLAN, input={"message": "Grüße"})
        grant = await world.store.lease(execution_id, request())
        assert grant.input == {"message": "Grüße"}
        assert grant.execution.id == execution_id
        assert grant.execution.workflow_id == PLAN.workflow_id
        assert datetime.fromisoformat(grant.execution.started_at).utcoffset() == UTC.utcoffset(None)
        assert grant.steps == {}
        assert not grant.halted
        assert 0 < grant.heartbeat_seconds < grant.ttl_seconds

    async def test_unknown_execution(self, world: World) -> None:
        with pytest.raises(RejectedError):
            await world.store.lease("no-such-execution", request())

    async def test_execution_of_another_workflow(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        with pytest.raises(RejectedError):
            await world.store.lease(execution_id, request(workflow_id="another"))

    async def test_execution_is_pinned_to_the_plan_of_its_first_lease(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.store.lease(execution_id, request())
        with pytest.raises(RejectedError):
            await world.store.lease(execution_id, request("two", plan_digest="0" * 64))

    async def test_a_live_lease_keeps_others_out(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.store.lease(execution_id, request("one"))
        with pytest.raises(LeaseHeldError) as held:
            await world.store.lease(execution_id, request("two"))
        assert held.value.retry_after > 0

    async def test_the_same_owner_gets_it_again(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.store.lease(execution_id, request("one"))
        again = await world.store.lease(execution_id, request("one"))
        await world.store.journal(execution_id, entry(again, record()))

    async def test_an_expired_lease_goes_to_another_and_the_old_token_is_refused(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        old = await world.store.lease(execution_id, request("one"))
        await world.pass_time(old.ttl_seconds + 1)
        new = await world.store.lease(execution_id, request("two"))
        assert new.token > old.token
        with pytest.raises(StaleLeaseError):
            await world.store.journal(execution_id, entry(old, record(output="old")))
        with pytest.raises(StaleLeaseError):
            await world.store.heartbeat(execution_id, "all", old.token)
        with pytest.raises(StaleLeaseError):
            await world.store.settle(execution_id, settling(old))
        with pytest.raises(StaleLeaseError):
            await world.store.finish(execution_id, finish(old))
        state = await world.store.settle(execution_id, settling(new))
        assert state.steps == {}

    async def test_heartbeats_keep_a_lease_alive(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request("one"))
        for _ in range(3):
            await world.pass_time(grant.ttl_seconds * 0.6)
            state = await world.store.heartbeat(execution_id, "all", grant.token)
            assert state.status == "running"
        with pytest.raises(LeaseHeldError):
            await world.store.lease(execution_id, request("two"))

    async def test_the_journal_comes_back_as_it_was_written(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        now = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
        usage = Usage(provider="p", model="m", input_tokens=1, output_tokens=2, cost_usd=0.25, price={"input_mtok": 3})
        full = record(
            output={"text": "Grüße", "none": None, "list": [1, 2.5, True]},
            attempts=2,
            started_at=now,
            ended_at=now,
            duration_ms=12.5,
            usage=[usage],
            answer=WebhookAnswer(status=201, headers={"x-a": "b"}, body=[1]),
        )
        failed = record("b", status="failed", error=StepError(code="model_error", message="gone"), attempts=1)
        await world.store.journal(execution_id, entry(grant, full, failed))
        state = await world.store.settle(execution_id, settling(grant))
        assert state.steps == {"a": full, "b": failed}

    async def test_a_later_lease_replays_the_journal(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request("one"))
        await world.store.journal(execution_id, entry(grant, record(output={"n": 1})))
        await world.pass_time(grant.ttl_seconds + 1)
        again = await world.store.lease(execution_id, request("two"))
        assert again.steps["a"].output == {"n": 1}

    async def test_journaling_twice_is_harmless(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        for _ in range(2):
            await world.store.journal(execution_id, entry(grant, record(output=1), running=["b"]))
        state = await world.store.settle(execution_id, settling(grant))
        assert state.steps["a"].output == 1

    async def test_running_is_never_more_than_a_hint(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.store.journal(execution_id, entry(grant, record(output=1)))
        await world.store.journal(execution_id, entry(grant, running=["a", "b"]))
        state = await world.store.settle(execution_id, settling(grant))
        assert state.steps["a"].status == "success"
        assert "b" not in state.steps or state.steps["b"].status == "running"

    async def test_a_waiting_step_is_remembered(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        began = datetime(2026, 5, 1, 12, tzinfo=UTC)
        waiting = record(status="running", attempts=2, started_at=began)
        await world.store.journal(execution_id, Journaling(unit="all", token=grant.token, steps=[waiting]))
        await world.store.settle(execution_id, Settling(unit="all", token=grant.token))
        again = await world.store.lease(execution_id, request("two"))
        assert again.steps["a"] == waiting
        await world.store.journal(execution_id, Journaling(unit="all", token=again.token, running=["a"]))
        last = await world.store.lease(execution_id, request("two"))
        assert last.steps["a"] == waiting

    async def test_the_end_decides_what_becomes_of_a_waiting_step(self, world: World) -> None:
        plan = plan_of(step("a"), step("b"))
        execution_id = await world.accept(plan)
        grant = await world.store.lease(execution_id, request(plan=plan))
        waiting = record(status="running", attempts=1, started_at=datetime(2026, 5, 1, tzinfo=UTC))
        done = record("b")
        entry = Journaling(unit="all", token=grant.token, steps=[waiting, done])
        await world.store.journal(execution_id, entry)
        left = [record(status="cancelled"), record("b", status="cancelled")]
        finish = Finish(unit="all", token=grant.token, status="failed", steps=left)
        await world.store.finish(execution_id, finish)
        reopened = await world.store.lease(execution_id, request(plan=plan, clear_number=1))
        assert set(reopened.steps) == {"b"}, "a result stays, a wait does not"

    async def test_who_watches_hears_of_a_failure(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        watch = asyncio.create_task(world.store.watch(execution_id, []))
        await world.store.journal(execution_id, Journaling(unit="all", token=grant.token, halt=True))
        assert told(await asyncio.wait_for(watch, 15)) == News(halted=True)
        assert told(await world.store.watch(execution_id, [])) == News(halted=True), "also who comes later"

    async def test_who_watches_hears_of_what_is_awaited(self, world: World) -> None:
        waiting, other = await world.accept(PLAN), await world.accept(PLAN)
        grant = await world.store.lease(other, request())
        third = await world.accept(PLAN)
        watch = asyncio.create_task(world.store.watch(waiting, [third, other]))
        await world.store.finish(other, Finish(unit="all", token=grant.token, status="success"))
        assert told(await asyncio.wait_for(watch, 15)) == News(done=True)

    async def test_an_unknown_execution_cannot_be_watched(self, world: World) -> None:
        with pytest.raises(RejectedError):
            await world.store.watch("0" * 8 + "-0000-7000-8000-" + "0" * 12, [])

    async def asked(self, world: World, **fields: Any) -> tuple[str, str]:
        """Ask for step ``a``; return the ids of execution and approval."""
        execution_id = await world.accept(PLAN)
        await world.store.lease(execution_id, request())
        return execution_id, (await world.store.ask_approval(execution_id, "a", question(**fields))).id

    async def test_asking_twice_asks_once(self, world: World) -> None:
        execution_id, approval_id = await self.asked(world)
        state = await world.store.ask_approval(execution_id, "a", question())
        assert (state.id, state.decision, state.seconds_left) == (approval_id, None, None)
        assert (await world.store.ask_approval(execution_id, "b", question())).id != approval_id

    async def test_who_watches_hears_of_a_decision(self, world: World) -> None:
        execution_id, approval_id = await self.asked(world)
        watch = asyncio.create_task(world.store.watch(execution_id, [execution_id, approval_id]))
        receipt = await world.store.answer_approval(execution_id, "a", ApprovalAnswer(decision="reject", by="ann"))
        assert receipt.refusal is None
        assert told(await asyncio.wait_for(watch, 15)) == News(done=True)
        state = await world.store.ask_approval(execution_id, "a", question())
        assert (state.id, state.decision, state.comment, state.by) == (approval_id, "reject", None, "ann")
        assert state.at is not None

    async def test_the_first_answer_counts(self, world: World) -> None:
        execution_id, _ = await self.asked(world)
        first = ApprovalAnswer(decision="approve", by="ann")
        for answer, refusal in (
            (first, None),
            (first, None),
            (ApprovalAnswer(decision="reject", by="ann"), "already_decided"),
            (ApprovalAnswer(decision="approve", by="bob"), "already_decided"),
        ):
            assert (await world.store.answer_approval(execution_id, "a", answer)).refusal == refusal
        state = await world.store.ask_approval(execution_id, "a", question())
        assert (state.decision, state.by) == ("approve", "ann")

    async def test_an_answer_of_somebody_else(self, world: World) -> None:
        execution_id, _ = await self.asked(world, assignees=["Ünal", "bob"])
        other = ApprovalAnswer(decision="approve", by="ann")
        assert (await world.store.answer_approval(execution_id, "a", other)).refusal == "not_assignee"
        assert (await world.store.ask_approval(execution_id, "a", question())).decision is None
        one = ApprovalAnswer(decision="approve", by="Ünal")
        assert (await world.store.answer_approval(execution_id, "a", one)).refusal is None

    @pytest.mark.parametrize("policy", ["approve", "reject", "fail"])
    async def test_the_time_out_decides(self, world: World, policy: Any) -> None:
        execution_id, approval_id = await self.asked(world, timeout_seconds=60, on_timeout=policy)
        state = await world.store.ask_approval(execution_id, "a", question())
        assert state.seconds_left is not None
        assert 50 < state.seconds_left <= 60
        await world.pass_time(61)
        assert told(await world.store.watch(execution_id, [approval_id])) == News(done=True)
        late = ApprovalAnswer(decision="approve", by="ann")
        assert (await world.store.answer_approval(execution_id, "a", late)).refusal == "already_decided"
        state = await world.store.ask_approval(execution_id, "a", question())
        assert (state.decision, state.by, state.seconds_left) == (policy, "timeout", 0)

    async def test_an_answer_to_nothing(self, world: World) -> None:
        execution_id, _ = await self.asked(world)
        answer = ApprovalAnswer(decision="approve", by="ann")
        assert (await world.store.answer_approval(execution_id, "b", answer)).refusal == "approval_withdrawn"

    async def test_an_answer_that_nobody_waits_for(self, world: World) -> None:
        execution_id, _ = await self.asked(world)
        grant = await world.store.lease(execution_id, request())
        failed = record(status="failed", error=StepError(code="timeout", message="m"))
        await world.store.journal(execution_id, entry(grant, failed))
        answer = ApprovalAnswer(decision="approve", by="ann")
        assert (await world.store.answer_approval(execution_id, "a", answer)).refusal == "approval_withdrawn"

    async def test_a_step_that_runs_again_is_asked_anew(self, world: World) -> None:
        execution_id, approval_id = await self.asked(world)
        await world.store.answer_approval(execution_id, "a", ApprovalAnswer(decision="reject", by="ann"))
        grant = await world.store.lease(execution_id, request())
        failed = record(status="failed", error=StepError(code="approval_rejected", message="m"))
        await world.store.journal(execution_id, entry(grant, failed, halt=True))
        await world.store.finish(execution_id, finish(grant, "failed"))
        with pytest.raises(StaleLeaseError):
            await world.store.ask_approval(execution_id, "a", question())
        grant = await world.store.lease(execution_id, request(clear_number=1))
        state = await world.store.ask_approval(execution_id, "a", question(epoch=grant.epoch))
        assert (state.decision, state.id == approval_id) == (None, False)

    async def test_asking_in_another_epoch(self, world: World) -> None:
        execution_id, _ = await self.asked(world)
        with pytest.raises(StaleLeaseError):
            await world.store.ask_approval(execution_id, "a", question(epoch=7))

    async def test_settle_frees_the_unit_and_names_the_others_at_work(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        one = await world.store.lease(execution_id, request(unit="a"))
        two = await world.store.lease(execution_id, request(unit="b"))
        first = await world.store.settle(execution_id, settling(one, "a"))
        assert first.active_units == ["b"]
        second = await world.store.settle(execution_id, settling(two, "b"))
        assert second.active_units == []

    async def test_a_settled_unit_can_be_leased_at_once(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request("one"))
        await world.store.settle(execution_id, settling(grant))
        await world.store.lease(execution_id, request("two"))

    async def test_a_halting_failure_is_told_to_every_runner(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        one = await world.store.lease(execution_id, request(unit="a"))
        two = await world.store.lease(execution_id, request(unit="b"))
        assert not (await world.store.heartbeat(execution_id, "b", two.token)).halted
        failed = record(status="failed", error=StepError(code="c", message="m"))
        state = await world.store.journal(execution_id, entry(one, failed, unit="a", halt=True))
        assert state.halted
        assert (await world.store.heartbeat(execution_id, "b", two.token)).halted
        assert (await world.store.journal(execution_id, entry(two, unit="b"))).halted

    async def test_a_handled_failure_halts_nobody(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        failed = record(status="failed", error=StepError(code="c", message="m"))
        assert not (await world.store.journal(execution_id, entry(grant, failed))).halted

    async def test_cancel_is_told_with_every_answer(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        assert not grant.cancelled
        assert not (await world.store.heartbeat(execution_id, "all", grant.token)).cancelled
        await world.cancel(execution_id)
        for state in (
            await world.store.heartbeat(execution_id, "all", grant.token),
            await world.store.journal(execution_id, entry(grant, record(status="cancelled"))),
            await world.store.settle(execution_id, settling(grant)),
        ):
            assert (state.status, state.halted, state.cancelled) == ("running", True, True)
        await world.store.finish(execution_id, finish(grant, "cancelled"))
        with pytest.raises(ExecutionEndedError) as ended:
            await world.store.lease(execution_id, request("two"))
        assert ended.value.status == "cancelled"

    async def test_cancel_before_the_first_lease_ends_it(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.cancel(execution_id)
        with pytest.raises(ExecutionEndedError) as ended:
            await world.store.lease(execution_id, request())
        assert ended.value.status == "cancelled"

    async def test_cancel_without_a_runner_ends_it(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.store.journal(execution_id, entry(grant, record()))
        await world.pass_time(grant.ttl_seconds + 1)
        await world.cancel(execution_id)
        with pytest.raises(ExecutionEndedError):
            await world.store.lease(execution_id, request("two"))
        with pytest.raises(StaleLeaseError):
            await world.store.journal(execution_id, entry(grant, record("b")))

    async def test_who_takes_over_a_cancelled_execution_is_told(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.cancel(execution_id)
        await world.pass_time(grant.ttl_seconds + 1)
        again = await world.store.lease(execution_id, request("two"))
        assert (again.halted, again.cancelled) == (True, True)

    async def test_cancel_leaves_an_ended_execution_alone(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.store.settle(execution_id, settling(grant))
        await world.store.finish(execution_id, finish(grant, "success", output={"n": 1}))
        await world.cancel(execution_id)
        state = await world.store.finish(execution_id, finish(grant, "success"))
        assert (state.status, state.cancelled) == ("success", False)

    async def test_a_cancelled_execution_that_is_reopened_goes_on(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.cancel(execution_id)
        again = await world.store.lease(execution_id, request(clear_number=1))
        assert (again.halted, again.cancelled, again.steps) == (False, False, {})

    async def test_an_event_is_emitted_once_a_step_and_epoch(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.store.lease(execution_id, request())
        emission = Emission(epoch=0, step_id="a", type="made", data={"n": 1})
        first = await world.store.emit_event(execution_id, emission)
        assert await world.store.emit_event(execution_id, emission) == first
        another = emission.model_copy(update={"epoch": 1})
        assert await world.store.emit_event(execution_id, another) != first

    async def test_an_ended_execution_emits_nothing(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        await world.cancel(execution_id)
        with pytest.raises(ExecutionEndedError):
            await world.store.emit_event(execution_id, Emission(epoch=0, step_id="a", type="made"))

    async def test_an_unknown_execution_emits_nothing(self, world: World) -> None:
        with pytest.raises(RejectedError):
            await world.store.emit_event("no-such-execution", Emission(epoch=0, step_id="a", type="made"))

    async def test_finish_ends_the_execution(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.store.journal(execution_id, entry(grant, record()))
        await world.store.settle(execution_id, settling(grant))
        left = [record("b", status="cancelled")]
        state = await world.store.finish(
            execution_id, finish(grant, "failed", error=StepError(code="c", message="m"), steps=left)
        )
        assert state.status == "failed"
        with pytest.raises(ExecutionEndedError) as ended:
            await world.store.lease(execution_id, request("two"))
        assert ended.value.status == "failed"

    async def test_the_first_end_stands(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        await world.store.settle(execution_id, settling(grant))
        await world.store.finish(execution_id, finish(grant, "success", output={"n": 1}))
        state = await world.store.finish(execution_id, finish(grant, "failed"))
        assert state.status == "success"

    async def test_nothing_is_journaled_after_the_end(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        one = await world.store.lease(execution_id, request(unit="a"))
        two = await world.store.lease(execution_id, request(unit="b"))
        await world.store.settle(execution_id, settling(one, "a"))
        await world.store.finish(execution_id, finish(one, "failed", unit="a"))
        with pytest.raises(StaleLeaseError):
            await world.store.journal(execution_id, entry(two, record("b"), unit="b"))

    async def test_a_higher_clear_number_reopens(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        grant = await world.store.lease(execution_id, request())
        failed = record("b", status="failed", error=StepError(code="c", message="m"))
        await world.store.journal(execution_id, entry(grant, record(output=1), failed, halt=True))
        await world.store.settle(execution_id, settling(grant))
        await world.store.finish(execution_id, finish(grant, "failed"))
        again = await world.store.lease(execution_id, request("two", clear_number=1))
        assert not again.halted
        assert (grant.life, grant.since, again.life, again.epoch) == (0, None, 1, grant.epoch)
        assert again.since is not None
        third = await world.store.lease(execution_id, request("two", unit="other", clear_number=1))
        assert (third.life, third.since) == (1, again.since), "it is reopened once"
        assert set(again.steps) == {"a"}
        assert again.steps["a"].output == 1
        with pytest.raises(StaleLeaseError):
            await world.store.journal(execution_id, entry(grant, record("b")))

    async def test_no_key_is_no_error(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        credential = await world.store.model_credential(execution_id, "openai")
        assert credential.provider == "openai"
        assert credential.api_key is None

    async def test_nothing_is_to_be_masked(self, world: World) -> None:
        execution_id = await world.accept(PLAN)
        assert (await world.store.redactions(execution_id)).values == []
