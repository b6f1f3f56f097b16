"""Thousands of workflows with slips in them: clear answers at once, or a run that fails only for what nobody could see.

The seeds are fixed, so that every run tests the same mutants. ``FUZZ_SEED=7 FUZZ_EXAMPLES=20000`` looks at others.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, seed, settings

from compiler import compile_workflow, validate_workflow
from compiler.diagnostics import Code, Diagnostic, has_errors
from compiler.explain import as_mermaid, as_text, explain_workflow
from compiler.expressions import ExpressionError, has_expression, parse
from compiler.plan import Plan, Step
from operators.execution.clock import Clock
from operators.execution.local import LocalResult, run_plan
from operators.execution.records import ModelCredential
from operators.execution.stubs import Stubs
from tests.strategies.mutations import mutants

pytestmark = pytest.mark.unit

PARTS = 8
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5200")) // PARTS
SEED = int(os.environ.get("FUZZ_SEED", "0"))
LONGEST_JUMP = 366 * 86_400
"""In seconds: a mutant may wait until the year 9999, and one more jump must not end the calendar."""

VISIBLE_CODES = {"internal_error", "unavailable_type", *get_args(Code)} - {"invalid_config", "limit_exceeded"}
"""What a run must never end in: defects of ours, and whatever is the compiler's to report.

``invalid_config`` is told apart: an expression may give a value that a config cannot have, a literal must not. A list
that a map runs over can be too long only at run time.
"""


def for_mutants(part: int, check: Callable[[dict[str, Any]], None]) -> None:
    """Call ``check`` with the mutants of one part."""
    options = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    seed(SEED * PARTS + part)(options(given(mutants())(check)))()


class Quick(Clock):
    """A clock on which nobody waits long: it jumps over every wait."""

    def __init__(self) -> None:
        self._skipped = timedelta()

    def now(self) -> datetime:
        return super().now() + self._skipped

    async def sleep(self, seconds: float) -> None:
        self._skipped += timedelta(seconds=min(seconds, LONGEST_JUMP))
        await asyncio.sleep(min(seconds, 0.001))


async def no_key(provider: str) -> ModelCredential:
    return ModelCredential(provider=provider)


@pytest.mark.parametrize("part", range(PARTS))
def test_mutants(part: int) -> None:
    seen: Counter[str] = Counter()

    def check(case: dict[str, Any]) -> None:
        source = json.dumps(case["workflow"]).encode()
        found = validate_workflow(source)
        compilation = compile_workflow(source, organization="acme")
        assert (compilation.plan is None) == has_errors(compilation.diagnostics)
        assert [(d.code, d.path) for d in found] == [(d.code, d.path) for d in compilation.diagnostics]
        check_diagnostics(found, case["workflow"])
        seen.update({diagnostic.code for diagnostic in found})
        explained, explanation = explain_workflow(source)
        assert (explanation is None) == has_errors(explained)
        if explanation is not None:
            assert as_text(explanation)
            assert as_mermaid(explanation)
        if compilation.plan is not None:
            seen["runs"] += 1
            check_run(compilation.plan, run(compilation.plan, case))

    for_mutants(part, check)
    # Some slips hurt nothing; most are seen, and of many sorts.
    assert EXAMPLES * 3 // 4 > seen.pop("runs") > EXAMPLES // 20
    assert len(seen) >= 10


def check_diagnostics(found: list[Diagnostic], document: Any) -> None:
    """Check that each diagnostic is complete and points at a place that exists, and that they are in order."""
    order = []
    for diagnostic in found:
        assert diagnostic.code in get_args(Code)
        assert len(diagnostic.message) > 10
        assert diagnostic.message[-1] in ".?!"
        assert diagnostic.suggestion != ""
        json.dumps(diagnostic.as_json()).encode()
        order.append((place_of(diagnostic.path, document), diagnostic.code))
    assert order == sorted(order)


def place_of(path: str, document: Any) -> tuple[int, ...]:
    """Follow a pointer; return the place among its siblings at each level. LookupError where it leads nowhere."""
    found = []
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list):
            found.append(int(key))
            document = document[int(key)]
        else:
            found.append(list(document).index(key))
            document = document[key]
    return tuple(found)


def run(plan: Plan, case: dict[str, Any]) -> LocalResult:
    stubs = Stubs(case.get("stubs"))
    running = run_plan(
        plan, input=case.get("input", {}), vars=case.get("vars"), stubs=stubs, credentials=no_key, clock=Quick()
    )
    return asyncio.run(asyncio.wait_for(running, 60))


def check_run(plan: Plan, result: LocalResult) -> None:
    """Check that nothing failed for a reason that could be seen in the workflow."""
    errors = [record.error for record in result.steps.values() if record.error]
    for error in [*errors, *([result.error] if result.error else [])]:
        assert error.code not in VISIBLE_CODES, error
        assert error.message
    for step in plan.steps:
        error = result.steps[step.id].error
        if error is not None and error.code == "invalid_config":
            assert has_expressions(step) or "`model`" in error.message, error


def has_expressions(step: Step) -> bool:
    """Tell whether a config has an expression that reads something: what it gives is not known before."""
    todo: list[Any] = [step.config]
    while todo:
        value = todo.pop()
        if isinstance(value, str) and has_expression(value):
            try:
                if parse(value).references:
                    return True
            except ExpressionError:
                continue
        todo.extend(value.values() if isinstance(value, dict) else value if isinstance(value, list) else ())
    return False
