"""What a workflow means, told a second time: task by task in order, without units, journal, leases or time.

It follows the format's page on edges, joins and errors and shares nothing with the runner but the evaluation of single
expressions. So a test that compares a run with it can fail where fused and unfused are wrong alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from compiler.expressions import EvaluationError, render
from tests.strategies.step_types import KINDS, Refused
from tests.strategies.workflows import Case

Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How a task ends if nothing stops it. ``blocked``: it waits for a task behind an unhandled failure."""

    status: Literal["success", "failed", "skipped", "blocked"]
    output: Any = None
    code: str | None = None
    attempts: int = 0


class Reference:
    """The meaning of a case.

    :param case: The workflow must be valid, and its tasks in an order in which edges lead to later ones.
    :param messages: The texts of errors, by task; they are no part of the format, but expressions may read them.
    """

    def __init__(self, case: Case, trigger: Json, messages: dict[str, str]) -> None:
        self._case = case
        self.tasks: dict[str, Json] = {task["id"]: task for task in case.workflow["tasks"]}
        self.scope: Json = {
            "input": case.input,
            "trigger": trigger,
            "execution": {"id": "local", "workflow_id": case.workflow["id"], "version": 1, "started_at": ""},
            "vars": case.vars,
        }
        self.outcomes: dict[str, Outcome] = {}
        self._incoming: dict[str, list[tuple[str, str]]] = {task_id: [] for task_id in self.tasks}
        for task_id in self.tasks:
            for way, target in self._edges(task_id):
                self._incoming[target].append((way, task_id))
        for task_id in self.tasks:
            outcome = self.outcomes[task_id] = self._outcome(task_id)
            error = None if outcome.code is None else {"code": outcome.code, "message": messages.get(task_id)}
            self.scope[task_id] = {"output": outcome.output, "status": outcome.status, "error": error}

    @property
    def unhandled(self) -> list[str]:
        """The tasks whose failure fails the execution, each if nothing else stops it before."""
        return [name for name in self.tasks if self.outcomes[name].status == "failed" and not self._handles(name)]

    def behind(self, task_id: str) -> set[str]:
        """Return the tasks that edges of any kind lead to from a task."""
        found: set[str] = set()
        todo = [task_id]
        while todo:
            for _, target in self._edges(todo.pop()):
                if target not in found:
                    found.add(target)
                    todo.append(target)
        return found

    def output(self) -> tuple[str, Any]:
        """Return status and output of an execution without an unhandled failure."""
        workflow = self._case.workflow
        if "output" not in workflow:
            ends = (name for name in self.tasks if not list(self._edges(name)))
            return "success", {
                name: self.outcomes[name].output for name in ends if self.outcomes[name].status == "success"
            }
        try:
            return "success", render(workflow["output"], self.scope)
        except EvaluationError:
            return "failed", None

    def _edges(self, task_id: str) -> list[tuple[str, str]]:
        """Return ways and targets: ``next``, ``chosen`` or ``goto``."""
        task = self.tasks[task_id]
        config = task["config"]
        found = [("next", target) for target in task.get("next", [])]
        found += [("chosen", condition["then"]) for condition in config.get("conditions", [])]
        found += [("chosen", config["default"])] if isinstance(config.get("default"), str) else []
        found += [("chosen", target) for target in config.get("routes", {}).values()]
        if isinstance(task.get("on_error"), dict):
            found.append(("goto", task["on_error"]["goto"]))
        return list(dict.fromkeys(found))

    def _handles(self, task_id: str) -> bool:
        return self.tasks[task_id].get("on_error", "fail") != "fail"

    def _taken(self, way: str, source: str, target: str) -> bool | None:
        """Say whether an edge is taken; None where it is never decided."""
        outcome, task = self.outcomes[source], self.tasks[source]
        if outcome.status == "success":
            return way == "next" or (
                way == "chosen" and KINDS[task["type"]].chosen(task["config"], outcome.output) == target
            )
        if outcome.status == "failed" and self._handles(source):
            return way == ("next" if task["on_error"] == "continue" else "goto")
        return False if outcome.status == "skipped" else None

    def _outcome(self, task_id: str) -> Outcome:
        taken = [self._taken(way, source, task_id) for way, source in self._incoming[task_id]]
        if taken:
            joins_any = self.tasks[task_id].get("join") == "any"
            if not (any(taken) and (joins_any or None not in taken)):
                return Outcome("blocked" if None in taken else "skipped")
        return self._run(task_id)

    def _run(self, task_id: str) -> Outcome:
        task = self.tasks[task_id]
        kind = KINDS[task["type"]]
        try:
            rendered = kind.rendered(task["config"], self.scope)
        except EvaluationError as error:
            return Outcome("failed", None, error.code, 1)
        except Refused as error:
            return Outcome("failed", None, error.code, 1)
        if task_id not in self._case.stubs:
            assert kind.computes is not None, f"a {task['type']} needs a stub"
            return Outcome("success", kind.computes(rendered), attempts=1)
        stub = self._case.stubs[task_id]
        if not isinstance(stub, list):
            return Outcome("success", stub, attempts=1)
        return _attempts(stub, task.get("retry", {}).get("attempts", 1))


def _attempts(stub: list[Any], allowed: int) -> Outcome:
    """Go through a list of stubs, one an attempt."""
    for attempt, item in enumerate(stub, 1):
        if not (isinstance(item, dict) and set(item) == {"error"}):
            return Outcome("success", item, attempts=attempt)
        if attempt == allowed:
            return Outcome("failed", None, "stubbed_error", attempt)
    return Outcome("failed", None, "stub_exhausted", len(stub) + 1)
