"""Thousands of random workflows: fused and unfused mean the same, and both mean what the format says.

The seeds are fixed, so that every run tests the same workflows. ``FUZZ_SEED=7 FUZZ_EXAMPLES=10000`` looks at others.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from compiler import Compilation, compile_workflow
from compiler.fuse import FusionStep
from compiler.plan import Plan
from compiler.steps import STEP_TYPES
from operators.execution.local import MANUAL_TRIGGER, LocalResult, run_plan
from operators.execution.records import StepRecord
from operators.execution.stubs import Stubs
from tests.compiler.units import check_units
from tests.strategies.reference import Reference
from tests.strategies.step_types import KINDS, NOT_DRAWN
from tests.strategies.workflows import Case, cases

pytestmark = pytest.mark.unit

PARTS = 8
"""So that two processes share the work."""
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2400")) // PARTS
SEED = int(os.environ.get("FUZZ_SEED", "0"))


def for_random_cases(part: int, check: Callable[[Case], None]) -> None:
    """Call ``check`` with the cases of one part."""
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    options = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=health)
    seed(SEED * PARTS + part)(options(given(cases())(check)))()


def compiled(case: Case, fusion: Any) -> Compilation:
    """Compile a case; it must be valid, and nothing it reads may hang on time."""
    result = compile_workflow(case.source(), organization="test", fusion=fusion)
    assert result.plan is not None, result.diagnostics
    assert {diagnostic.code for diagnostic in result.diagnostics} <= {"no_default_branch"}
    return result


def plan_of(case: Case, fusion: Any) -> Plan:
    plan = compiled(case, fusion).plan
    assert plan is not None
    return plan


def run(case: Case, fusion: Any) -> LocalResult:
    plan = plan_of(case, fusion)
    return asyncio.run(run_plan(plan, input=case.input, vars=case.vars, stubs=Stubs(case.stubs)))


def told(record: StepRecord) -> Any:
    return record.status, record.output, record.error, record.attempts


def reference_of(case: Case, result: LocalResult) -> Reference:
    messages = {name: record.error.message for name, record in result.steps.items() if record.error}
    return Reference(case, MANUAL_TRIGGER, messages)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", range(PARTS))
def test_fused_and_unfused_mean_what_the_format_says(part: int) -> None:
    seen: Counter[str] = Counter()

    def check(case: Case) -> None:
        fused, unfused = run(case, "auto"), run(case, "off")
        assert fused.status == unfused.status
        assert fused.output == unfused.output
        seen[fused.error.code if fused.error else "success"] += 1
        if fused.error is not None and fused.error.code == "invalid_input":
            assert {record.status for record in fused.steps.values()} == {"cancelled"}
            return
        for result in (fused, unfused):
            check_meaning(reference_of(case, result), result)
        if not reference_of(case, fused).unhandled:
            assert fused.error == unfused.error
            assert {name: told(record) for name, record in fused.steps.items()} == {
                name: told(record) for name, record in unfused.steps.items()
            }

    for_random_cases(part, check)
    # The cases are of all sorts, or the test would prove little.
    assert seen["success"] > EXAMPLES // 4
    assert seen["expression_error"] + seen["stubbed_error"] > EXAMPLES // 20


def check_meaning(reference: Reference, result: LocalResult) -> None:
    """Compare a run with what the format says; behind and beside an unhandled failure, with what it promises."""
    failures = [name for name in reference.unhandled if result.steps[name].status == "failed"]
    if reference.unhandled:
        # Which of several comes first hangs on time; that one comes, and that nothing else fails the run, does not.
        assert failures
        assert (result.status, result.output) == ("failed", None)
        assert result.error is not None
        assert result.error.code == reference.outcomes[failures[0]].code
        assert f"'{failures[0]}'" in result.error.message
    else:
        assert (result.status, result.output) == reference.output()
    behind = {name for failure in failures for name in reference.behind(failure)}
    before = {name for name in result.steps for failure in failures if failure in reference.behind(name)}
    for name, record in result.steps.items():
        outcome = reference.outcomes[name]
        ended = (record.status, record.output, record.error and record.error.code, record.attempts)
        expected = (outcome.status, outcome.output, outcome.code, outcome.attempts)
        left = ("upstream_failed" if name in behind else "cancelled", None, None, 0)
        # Before a failure everything has ended that it waited for. (A task that joins `any` does not wait for all.)
        if not reference.unhandled or (name in before and waits_for_all(reference, name, failures)):
            assert ended == expected, name
        elif outcome.status == "blocked":
            assert ended == left, name
        else:
            assert ended in (expected, left), name


def waits_for_all(reference: Reference, name: str, failures: list[str]) -> bool:
    """Tell whether no task on the way from ``name`` to a failure starts at its first taken edge."""
    between = {name, *reference.behind(name)}
    return not any(reference.tasks[other].get("join") == "any" for other in between) and any(
        failure in between for failure in failures
    )


@pytest.mark.parametrize("part", range(2))
def test_same_bytes_and_sound_units(part: int) -> None:
    def check(case: Case) -> None:
        first, again = compiled(case, None), compiled(case, None)
        assert (first.files, first.digest) == (again.files, again.digest)
        for fusion in ("auto", "off"):
            plan = plan_of(case, fusion)
            steps = [
                FusionStep(
                    step.id,
                    tuple(edge.target for edge in step.edges),
                    step.type if STEP_TYPES[step.type].barrier else "segment",  # type: ignore[arg-type]
                    step.join == "any",
                )
                for step in plan.steps
            ]
            check_units(steps, plan.units)
            assert fusion == "auto" or len(plan.units) == len(steps)

    for_random_cases(PARTS + part, check)


def test_every_available_type_is_drawn() -> None:
    available = {name for name, kind in STEP_TYPES.items() if kind.available}
    assert available - NOT_DRAWN <= set(KINDS)
