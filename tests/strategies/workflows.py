"""Random valid workflows with inputs, variables and stubs.

Whatever is drawn compiles, and its result does not hang on time as far as the format can promise: a task that joins
``any`` reads only what every way to it has passed. What an unhandled failure does to branches beside it does hang on
time; :mod:`tests.strategies.reference` says what is promised then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from compiler.steps import STEP_TYPES
from tests.strategies.step_types import KINDS, Drawn, available_kinds
from tests.strategies.values import SCHEMA, VARIABLES, Site, inputs

Json = dict[str, Any]
MAX_TASKS = 10


@dataclass(frozen=True)
class Case:
    """A workflow and what it is run with."""

    workflow: Json
    input: Any = field(default_factory=dict)
    vars: Json = field(default_factory=dict)
    stubs: Json = field(default_factory=dict)

    def source(self) -> bytes:
        """Return the workflow's file."""
        return json.dumps(self.workflow).encode()


@st.composite
def cases(draw: st.DrawFn, max_tasks: int = MAX_TASKS, unsafe: bool | None = None) -> Case:
    """Draw a workflow that compiles, with its input, variables and stubs.

    :param unsafe: Whether expressions and calls may fail; drawn if None.
    """
    drawing = _Drawing(draw, draw(st.integers(1, max_tasks)), draw(st.booleans()) if unsafe is None else unsafe)
    tasks = [drawing.task(number) for number in range(drawing.count)]
    workflow: Json = {"id": "random", "name": "Random", "version": "1.0", "tasks": tasks, "vars": list(VARIABLES)}
    workflow |= draw(st.sampled_from(_TRIGGERS))
    if draw(st.booleans()):
        workflow["input"] = SCHEMA
    if draw(st.booleans()):
        everything = {f"t{number}": drawing.keys[number] for number in range(drawing.count)}
        workflow["output"] = draw(Site(everything, drawing.unsafe).value())
    workflow |= draw(st.sampled_from(_SETTINGS))
    values: Json = {"limit": 3, "region": "eu"}
    given = draw(inputs)
    if drawing.unsafe and draw(st.integers(0, 9)) == 0:
        given = draw(st.sampled_from([{}, {"n": "x"}, [], None]))
        del values["region"]
    return Case(workflow, given, values, drawing.stubs)


_TRIGGERS: list[Json] = [
    {"trigger": {"type": "manual"}},
    {"trigger": {"type": "webhook", "config": {"path": "random/hook"}}},
    {"triggers": [{"type": "manual", "config": {}}, {"type": "webhook", "config": {"path": "/webhook/r"}}]},
]
_SETTINGS: list[Json] = [{}, {}, {"settings": {"fusion": "off"}}, {"settings": {"fusion": "auto", "timeout": "1h"}}]


class _Drawing:
    """The tasks of one workflow, drawn in document order; edges lead to later tasks."""

    def __init__(self, draw: st.DrawFn, count: int, unsafe: bool) -> None:
        self.draw = draw
        self.count = count
        self.unsafe = unsafe
        self.kinds = available_kinds()
        self.stubs: Json = {}
        self.keys: dict[int, tuple[str, ...]] = {}
        self.decided: dict[int, set[int]] = {}
        self.predecessors: dict[int, list[int]] = {number: [] for number in range(count)}

    def task(self, number: int) -> Json:
        """Draw a task; its predecessors are drawn already."""
        draw = self.draw
        join = draw(st.sampled_from(["all", "all", "any"])) if self.predecessors[number] else "all"
        self.decided[number] = self._decided(number, join)
        targets = self._targets(number)
        type_name = draw(st.sampled_from(self._possible(targets)))
        chosen, rest = self._split(type_name, targets)
        site = Site({f"t{other}": self.keys[other] for other in sorted(self.decided[number])}, self.unsafe)
        drawn = KINDS[type_name].draw(draw, site, chosen)
        self.keys[number] = drawn.keys
        task: Json = {"id": f"t{number}", "type": type_name, "config": drawn.config, **drawn.fields}
        if join == "any" or draw(st.booleans()):
            task["join"] = join
        self._add_edges(task, rest, chosen)
        self._add_call(task, type_name, drawn)
        if draw(st.integers(0, 4)) == 0:
            task["timeout"] = draw(st.sampled_from(["30s", 60, "1.5m"]))
        return task

    def _decided(self, number: int, join: str) -> set[int]:
        """Return the tasks that are decided whenever this one starts."""
        behind = [self.decided[other] | {other} for other in self.predecessors[number]]
        if not behind:
            return set()
        return set.intersection(*behind) if join == "any" else set.union(*behind)

    def _targets(self, number: int) -> list[str]:
        """Draw where the task leads. Mostly near, so that branches meet again."""
        later = list(range(number + 1, self.count))
        if not later:
            return []
        near = st.sampled_from(later[:3])
        found = self.draw(st.lists(near | st.sampled_from(later), unique=True, max_size=4))
        for other in found:
            self.predecessors[other].append(number)
        return [f"t{other}" for other in found]

    def _possible(self, targets: list[str]) -> list[str]:
        return [name for name in self.kinds if targets or name != "conditional"]

    def _split(self, type_name: str, targets: list[str]) -> tuple[list[str], list[str]]:
        """Return the targets the config chooses, and those that are left for ``next`` and ``goto``."""
        if not KINDS[type_name].chooses or not targets:
            return [], targets
        most = 2 if type_name == "approval" else len(targets)
        count = self.draw(st.integers(1, most)) if len(targets) >= most else len(targets)
        return targets[:count], targets[count:]

    def _add_edges(self, task: Json, targets: list[str], chosen: list[str]) -> None:
        way = self.draw(st.sampled_from(["fail", "none", "continue", "goto"]))
        if way == "goto" and (targets or chosen):
            # A failure may go where a success may: an edge of each kind then leads to the same task.
            goto = self.draw(st.sampled_from([*targets, *chosen]))
            targets = [target for target in targets if target != goto]
            task["on_error"] = {"goto": goto}
        elif way == "continue":
            task["on_error"] = "continue"
        elif way == "fail":
            task["on_error"] = "fail"
        if targets or self.draw(st.booleans()):
            task["next"] = targets

    def _add_call(self, task: Json, type_name: str, drawn: Drawn) -> None:
        """Draw the stub of a call, and retries where the type has them."""
        draw = self.draw
        attempts = 1
        if STEP_TYPES[type_name].retryable and draw(st.booleans()):
            attempts = draw(st.integers(1, 4))
            task["retry"] = {"attempts": attempts, "backoff_seconds": 0}
        if KINDS[type_name].computes is not None and draw(st.booleans()):
            return
        output = draw(st.sampled_from(drawn.outputs))
        if isinstance(output, list) or draw(st.booleans()):
            fails = draw(st.integers(0, attempts + 1)) if self.unsafe or task.get("on_error", "fail") != "fail" else 0
            items: list[Any] = [{"error": f"attempt {attempt}"} for attempt in range(1, fails + 1)]
            # Without an output at its end the list may be exhausted.
            items += [output] if not fails or draw(st.integers(0, 3)) else []
            self.stubs[task["id"]] = items
        else:
            self.stubs[task["id"]] = output
