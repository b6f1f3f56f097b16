"""Every rule of the format's "Edges, joins, errors", asked of the one function that knows them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.plan import Plan, Step
from operators.execution.flow import Flow, Progress
from operators.execution.records import StepError, StepRecord
from tests.operators.execution.plans import plan_of, step

pytestmark = pytest.mark.unit


def records(**statuses: Any) -> dict[str, StepRecord]:
    """A journal: status by step, or ``->target`` for a conditional that chose, or the decision of an approval."""
    journal = {}
    for step_id, status in statuses.items():
        if status.startswith("->"):
            journal[step_id] = StepRecord(id=step_id, status="success", output={"branch": status[2:] or None})
        elif status in ("approve", "reject"):
            journal[step_id] = StepRecord(id=step_id, status="success", output={"decision": status})
        else:
            journal[step_id] = StepRecord(id=step_id, status=status)
    return journal


CASES: list[tuple[str, list[Step], dict[str, str], str]] = [
    ("no edge in: starts first", [step("x")], {}, "run"),
    ("predecessor pending", [step("a", next="x"), step("x")], {}, "waiting"),
    ("predecessor running", [step("a", next="x"), step("x")], {"a": "running"}, "waiting"),
    ("next after success", [step("a", next="x"), step("x")], {"a": "success"}, "run"),
    ("skipped takes none", [step("a", next="x"), step("x")], {"a": "skipped"}, "skip"),
    ("failed with continue takes next", [step("a", next="x", on_error="continue"), step("x")], {"a": "failed"}, "run"),
    ("failed with goto takes the goto", [step("a", next="y", goto="x"), step("x"), step("y")], {"a": "failed"}, "run"),
    (
        "failed with goto takes only that",
        [step("a", next="x", goto="y"), step("x"), step("y")],
        {"a": "failed"},
        "skip",
    ),
    ("success never takes goto", [step("a", next="y", goto="x"), step("x"), step("y")], {"a": "success"}, "skip"),
    ("unhandled failure decides nothing", [step("a", next="x"), step("x")], {"a": "failed"}, "waiting"),
    ("chosen branch", [step("a", then="x", default="y"), step("x"), step("y")], {"a": "->x"}, "run"),
    ("branch not chosen", [step("a", then="x", default="y"), step("x"), step("y")], {"a": "->y"}, "skip"),
    ("no branch", [step("a", then="x"), step("x")], {"a": "->"}, "skip"),
    (
        "a conditional's next is unconditional",
        [step("a", then="y", next="x"), step("x"), step("y")],
        {"a": "->"},
        "run",
    ),
    (
        "a failed conditional with continue takes next, no branch",
        [step("a", then="x", next="y", on_error="continue"), step("x"), step("y")],
        {"a": "failed"},
        "skip",
    ),
    ("all: one undecided", [step("a", next="x"), step("b", next="x"), step("x")], {"a": "success"}, "waiting"),
    (
        "all: one taken, one skipped",
        [step("a", next="x"), step("b", next="x"), step("x")],
        {"a": "success", "b": "skipped"},
        "run",
    ),
    (
        "all: none taken",
        [step("a", next="x"), step("b", next="x"), step("x")],
        {"a": "skipped", "b": "skipped"},
        "skip",
    ),
    (
        "any: first taken edge",
        [step("a", next="x"), step("b", next="x"), step("x", join="any")],
        {"b": "success"},
        "run",
    ),
    (
        "any: not taken and undecided",
        [step("a", next="x"), step("b", next="x"), step("x", join="any")],
        {"b": "skipped"},
        "waiting",
    ),
    (
        "any: none taken",
        [step("a", next="x"), step("b", next="x"), step("x", join="any")],
        {"a": "skipped", "b": "skipped"},
        "skip",
    ),
    ("approved: its route", [step("a", approve="x", reject="y"), step("x"), step("y")], {"a": "approve"}, "run"),
    ("approved: not the other", [step("a", approve="y", reject="x"), step("x"), step("y")], {"a": "approve"}, "skip"),
    ("rejected: its route", [step("a", approve="y", reject="x"), step("x"), step("y")], {"a": "reject"}, "run"),
    ("rejected without a route for it", [step("a", approve="x"), step("x")], {"a": "reject"}, "skip"),
    ("both routes to one target", [step("a", approve="x", reject="x"), step("x")], {"a": "reject"}, "run"),
    (
        "both routes to one target that joins any",
        [step("a", approve="x", reject="x"), step("x", join="any")],
        {"a": "reject"},
        "run",
    ),
    (
        "an approval's next is for either decision",
        [step("a", next="x", approve="y"), step("x"), step("y")],
        {"a": "reject"},
        "run",
    ),
    ("then and default to one target", [step("a", then="x", default="x"), step("x")], {"a": "->x"}, "run"),
]


@pytest.mark.parametrize(
    ("steps", "journal", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_verdict_on_x(steps: list[Step], journal: dict[str, str], expected: str) -> None:
    assert Flow(plan_of(*steps)).verdict("x", records(**journal)) == expected


class TestAftermath:
    def test_behind_the_failure_and_elsewhere(self) -> None:
        flow = Flow(
            plan_of(
                step("a", next="b"), step("b", then="c"), step("c", goto="d"), step("d"), step("e", next="f"), step("f")
            )
        )
        fate = flow.aftermath(records(a="failed", e="success"))
        assert fate == {"b": "upstream_failed", "c": "upstream_failed", "d": "upstream_failed", "f": "cancelled"}

    def test_certain_skips_stay_skips(self) -> None:
        flow = Flow(plan_of(step("a"), step("b", next="c"), step("c", next="d"), step("d")))
        assert flow.aftermath(records(a="failed", b="skipped")) == {"c": "skipped", "d": "skipped"}

    def test_a_step_behind_both_a_failure_and_a_skip(self) -> None:
        flow = Flow(plan_of(step("a", next="x"), step("b", next="x"), step("x")))
        assert flow.aftermath(records(a="failed", b="skipped")) == {"x": "upstream_failed"}

    def test_without_a_failure_all_are_cancelled(self) -> None:
        flow = Flow(plan_of(step("a", next="b"), step("b")))
        assert flow.aftermath(records(a="running")) == {"a": "cancelled", "b": "cancelled"}

    def test_decided_steps_keep_their_status(self) -> None:
        flow = Flow(plan_of(step("a", next="x"), step("b", next="x"), step("x", join="any")))
        assert flow.aftermath(records(a="failed", b="success", x="success")) == {}


class TestReopening:
    def test_successes_stay_failures_and_what_follows_go(self) -> None:
        flow = Flow(plan_of(step("a", next="b"), step("b", next="c"), step("c"), step("d", next="e"), step("e")))
        kept = flow.kept(records(a="success", b="failed", c="upstream_failed", d="success", e="cancelled"))
        assert list(kept) == ["a", "d"]

    def test_what_follows_a_handled_failure_runs_again_too(self) -> None:
        flow = Flow(plan_of(step("a", next="b", on_error="continue"), step("b")))
        assert flow.kept(records(a="failed", b="success")) == {}


class TestRunningAgainFrom:
    def test_what_is_neither_named_nor_behind_stays(self) -> None:
        flow = Flow(plan_of(step("a", next="b c"), step("b", next="d"), step("c"), step("d"), step("e")))
        kept = flow.kept_besides(records(a="success", b="success", c="skipped", d="success", e="success"), ["b"])
        assert list(kept) == ["a", "c", "e"]

    def test_elsewhere_a_handled_failure_stays(self) -> None:
        flow = Flow(plan_of(step("a", next="b", on_error="continue"), step("b"), step("c")))
        assert list(flow.kept_besides(records(a="failed", b="success", c="success"), ["c"])) == ["a", "b"]

    def test_elsewhere_what_did_not_end_well_runs_again(self) -> None:
        flow = Flow(plan_of(step("a", next="b"), step("b"), step("c", next="d"), step("d"), step("e"), step("f")))
        journal = records(a="failed", b="upstream_failed", c="cancelled", d="skipped", e="running", f="success")
        assert list(flow.kept_besides(journal, [])) == ["f"]

    def test_with_a_map_go_its_items_only(self) -> None:
        inner = step("in", body=(step("x"),))
        flow = Flow(plan_of(step("m", body=(step("x"), inner)), step("mm", body=(step("x"),))))
        journal = {
            name: StepRecord(id=name, status="success") for name in ("m", "m[0].x", "m[0].in[1].x", "mm", "mm[0].x")
        }
        assert list(flow.kept_besides(journal, ["m"])) == ["mm", "mm[0].x"]


def test_default_output_has_successful_ends_only() -> None:
    flow = Flow(plan_of(step("a", next="b"), step("b"), step("c"), step("d")))
    journal = records(a="success", b="success", c="skipped", d="failed")
    journal["b"].output = {"n": 1}
    assert flow.default_output(journal) == {"b": {"n": 1}}


def test_unhandled_failures_in_document_order() -> None:
    flow = Flow(plan_of(step("a"), step("b", on_error="continue"), step("c")))
    assert [record.id for record in flow.unhandled(records(c="failed", b="failed", a="failed"))] == ["a", "c"]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A random acyclic plan with every kind of edge, join and error handling."""
    count = draw(st.integers(1, 8))
    steps = []
    for index in range(count):
        later = [f"s{other}" for other in range(index + 1, count)]
        targets = draw(st.lists(st.sampled_from(later), unique=True, max_size=3)) if later else []
        kinds = [draw(st.sampled_from(["next", "then", "approve", "reject", "goto"])) for _ in targets]
        if kinds.count("goto") > 1:
            kinds = ["next" if kind == "goto" else kind for kind in kinds]
        edges = {kind: " ".join(t for t, k in zip(targets, kinds, strict=True) if k == kind) for kind in set(kinds)}
        join = draw(st.sampled_from(["all", "any"]))
        on_error = draw(st.sampled_from(["fail", "continue"]))
        steps.append(step(f"s{index}", join=join, on_error=on_error, **edges))
    return plan_of(*steps)


@given(plans(), st.integers(0, 2**32))
def test_progress_agrees_with_the_verdicts(plan: Plan, seed: int) -> None:
    """The counting shortcut announces exactly the steps of which the pure verdict says so, each once."""
    chance = random.Random(seed)
    flow = Flow(plan)
    progress = Progress(flow, {})
    first = progress.open()
    ready, announced = list(first.ready), set(first.ready)
    while ready:
        step_id = ready.pop(chance.randrange(len(ready)))
        output = {"branch": chance.choice([*flow.steps, None]), "decision": chance.choice(["approve", "reject"])}
        failed = chance.random() < 0.4
        record = StepRecord(
            id=step_id,
            status="failed" if failed else "success",
            output=None if failed else output,
            error=StepError(code="c", message="m") if failed else None,
        )
        advance = progress.add(record)
        assert not announced & set(advance.ready)
        announced |= set(advance.ready)
        ready += advance.ready
        for other in flow.steps:
            if other in announced or other in progress.journal:
                continue
            assert flow.verdict(other, progress.journal) == "waiting"
    for step_id in progress.journal:
        if progress.journal[step_id].status == "skipped":
            without = {key: value for key, value in progress.journal.items() if key != step_id}
            assert flow.verdict(step_id, without) == "skip"


def test_a_thousand_steps_wide_and_deep_cost_no_more_than_their_edges() -> None:
    """Counts verdicts, not seconds: one at the start and one when the last edge is decided."""
    wide = [step("a", next=" ".join(f"w{n}" for n in range(500)))]
    wide += [step(f"w{n}", next="z") for n in range(500)]
    flow = Flow(plan_of(*wide, step("z")))
    asked: list[str] = []
    verdict = flow.verdict
    flow.verdict = lambda step_id, journal: (asked.append(step_id), verdict(step_id, journal))[1]  # type: ignore[method-assign]
    progress = Progress(flow, {})
    todo = progress.open().ready
    while todo:
        todo += progress.add(StepRecord(id=todo.pop(), status="success")).ready
    assert len(asked) <= 2 * len(flow.steps)
