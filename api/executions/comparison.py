"""Two executions side by side, step by step. Pure: two views go in, their differences come out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, JsonValue

from api.executions.schemas import ExecutionView, StepView, UsageTotal
from compiler.diagnostics import pointer
from operators.execution.records import ExecutionStatus, StepStatus

MAX_DIFFERENCES = 50
"""Of one output."""
MAX_SHOWN_BYTES = 200
"""Of a value; larger ones are shown by their size."""
MAX_VALUES = 200_000
"""How many values are looked at for one answer."""

_MISSING: Any = object()


class Difference(BaseModel):
    """A place where two values differ. ``pointer`` is of RFC 6901. A value of more than 200 bytes is null, and its
    size is told; so is one that is ``added`` or ``removed`` on its missing side, without a size."""

    pointer: str
    kind: Literal["changed", "added", "removed"]
    left: JsonValue = None
    right: JsonValue = None
    left_bytes: int | None = None
    right_bytes: int | None = None


class ValueComparison(BaseModel):
    """How two values differ. ``complete`` is false where there may be more differences than are listed; ``same`` is
    null where that could not be found out."""

    same: bool | None
    differences: list[Difference]
    complete: bool


class StepFacts(BaseModel):
    """A step of one side."""

    type: str
    status: StepStatus
    attempts: int
    duration_ms: float | None
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    error_code: str | None


class StepComparison(BaseModel):
    """A step of both sides, or of the one whose version has it. ``output`` is null where one side has none."""

    id: str
    left: StepFacts | None
    right: StepFacts | None
    output: ValueComparison | None


class Side(BaseModel):
    """One of the executions."""

    execution_id: UUID
    workflow_id: str
    version: int
    status: ExecutionStatus
    epoch: int
    duration_ms: float | None
    error_code: str | None
    usage: UsageTotal


class ExecutionComparison(BaseModel):
    """Two executions side by side. Steps stand in the order of the left one, then those that only the
    right one has."""

    left: Side
    right: Side
    same_version: bool
    input: ValueComparison
    output: ValueComparison
    steps: list[StepComparison]


class _Budget:
    """How many values may still be looked at."""

    def __init__(self, left: int) -> None:
        self.left = left


def compare_executions(left: ExecutionView, right: ExecutionView) -> ExecutionComparison:
    """Return how two executions differ."""
    budget = _Budget(MAX_VALUES)
    ours, theirs = {step.id: step for step in left.steps}, {step.id: step for step in right.steps}
    return ExecutionComparison(
        left=_side(left),
        right=_side(right),
        same_version=left.digest == right.digest,
        input=_compare(left.input, right.input, budget),
        output=_compare(_output(left), _output(right), budget),
        steps=[_step(name, ours.get(name), theirs.get(name), budget) for name in ours | theirs],
    )


def _output(shown: ExecutionView | StepView) -> Any:
    """Return an output, or of one that is an object its digest and size."""
    return shown.output if shown.output_ref is None else shown.output_ref.model_dump(exclude={"url"})


def compare_values(left: Any, right: Any) -> ValueComparison:
    """Return how two JSON values differ."""
    return _compare(left, right, _Budget(MAX_VALUES))


def _side(view: ExecutionView) -> Side:
    return Side(
        execution_id=view.execution_id,
        workflow_id=view.workflow_id,
        version=view.version,
        status=view.status,
        epoch=view.epoch,
        duration_ms=view.duration_ms,
        error_code=view.error.code if view.error else None,
        usage=view.usage,
    )


def _step(step_id: str, left: StepView | None, right: StepView | None, budget: _Budget) -> StepComparison:
    both = left is not None and right is not None
    return StepComparison(
        id=step_id,
        left=_facts(left),
        right=_facts(right),
        output=_compare(_output(left), _output(right), budget) if both and left and right else None,
    )


def _facts(step: StepView | None) -> StepFacts | None:
    if step is None:
        return None
    return StepFacts(
        type=step.type,
        status=step.status,
        attempts=step.attempts,
        duration_ms=step.duration_ms,
        input_tokens=sum(call.input_tokens for call in step.usage),
        output_tokens=sum(call.output_tokens for call in step.usage),
        cost_usd=step.cost_usd,
        error_code=step.error.code if step.error else None,
    )


def _compare(left: Any, right: Any, budget: _Budget) -> ValueComparison:
    found: list[Difference] = []
    for difference in _differences(left, right, budget):
        if len(found) == MAX_DIFFERENCES:
            return ValueComparison(same=False, differences=found, complete=False)
        found.append(difference)
    complete = budget.left > 0
    same = False if found else True if complete else None
    return ValueComparison(same=same, differences=found, complete=complete)


def _differences(left: Any, right: Any, budget: _Budget) -> Iterator[Difference]:
    """Yield the places where two values differ, in document order, until the budget is used up."""
    open_places: list[tuple[tuple[str | int, ...], Any, Any]] = [((), left, right)]
    while open_places and budget.left > 0:
        budget.left -= 1
        path, ours, theirs = open_places.pop()
        if isinstance(ours, dict) and isinstance(theirs, dict):
            keys: list[Any] = list(ours | theirs)
            inner = [((*path, key), ours.get(key, _MISSING), theirs.get(key, _MISSING)) for key in keys]
        elif isinstance(ours, list) and isinstance(theirs, list):
            inner = [((*path, n), _item(ours, n), _item(theirs, n)) for n in range(max(len(ours), len(theirs)))]
        else:
            if not _is_same(ours, theirs):
                yield _difference(path, ours, theirs)
            continue
        open_places += reversed(inner)


def _item(items: list[Any], number: int) -> Any:
    return items[number] if number < len(items) else _MISSING


def _is_same(left: Any, right: Any) -> bool:
    """Tell whether two values that are not both lists or both objects are the same; true is not 1, 1.0 is."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _difference(path: tuple[str | int, ...], left: Any, right: Any) -> Difference:
    kind: Literal["changed", "added", "removed"] = "changed"
    if left is _MISSING:
        kind = "added"
    elif right is _MISSING:
        kind = "removed"
    (shown_left, left_bytes), (shown_right, right_bytes) = _shown(left), _shown(right)
    return Difference(
        pointer=pointer(path),
        kind=kind,
        left=shown_left,
        right=shown_right,
        left_bytes=left_bytes,
        right_bytes=right_bytes,
    )


def _shown(value: Any) -> tuple[Any, int | None]:
    if value is _MISSING:
        return None, None
    size = len(orjson.dumps(value))
    return (value, None) if size <= MAX_SHOWN_BYTES else (None, size)
