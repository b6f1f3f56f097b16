"""Stubs: values that stand in for the calls of steps in a local run."""

from __future__ import annotations

from pydantic import JsonValue

from operators.execution.bodies import task_id
from operators.steps.base import StepFailedError, StepResult


class Stubs:
    """A stub per step: one output for every attempt, or a list with an item an attempt.

    In a list the item ``{"error": "text"}`` fails its attempt; every other item is that attempt's output. Stubs replace
    only the call: the input is still rendered, and their value is not checked.

    The stub of a step in a map's body goes by the task's id, or for one item by the id in the journal
    (``tickets[0].classify``), which comes first. Each item uses up a list by itself. A stub of the map replaces its
    bodies.

    :param values: JSON object from step id to stub. All methods take the id in the journal.
    """

    def __init__(self, values: dict[str, JsonValue] | None = None) -> None:
        self._values = dict(values or {})
        self._used: dict[str, int] = {}

    def of(self, workflow_id: str) -> Stubs:
        """Return the stubs of another workflow's steps: those written ``<workflow id>.<step id>``."""
        prefix = f"{workflow_id}."
        mine = {name: value for name, value in self._values.items() if name.startswith(prefix)}
        return Stubs({name.removeprefix(prefix): value for name, value in mine.items()})

    def without(self, step_id: str) -> Stubs:
        """Return the other stubs."""
        return Stubs({name: value for name, value in self._values.items() if name != step_id})

    def __contains__(self, step_id: str) -> bool:
        return step_id in self._values or task_id(step_id) in self._values

    def call(self, step_id: str) -> StepResult:
        """Answer the next attempt of a step.

        :raises StepFailedError: ``stubbed_error`` where the stub says so, ``stub_exhausted`` after a list's end.
        """
        value = self._values[step_id if step_id in self._values else task_id(step_id)]
        if not isinstance(value, list):
            return StepResult(value)
        used = self._used.get(step_id, 0)
        if used >= len(value):
            raise StepFailedError(
                "stub_exhausted",
                f"the stub of {step_id!r} is exhausted: its list has {len(value)} items, one an attempt, and this is "
                f"attempt {used + 1}. Add an item, or give one output instead of a list",
                retryable=False,
            )
        self._used[step_id] = used + 1
        item = value[used]
        if isinstance(item, dict) and set(item) == {"error"} and isinstance(item["error"], str):
            raise StepFailedError("stubbed_error", item["error"], retryable=True)
        return StepResult(item)
