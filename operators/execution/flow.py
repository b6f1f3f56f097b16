"""What may run: the one place that reads the edges of a plan.

Pure: plan and journal in, verdicts out. The in-memory run, the segments in Airflow, the bodies of maps and later the
barriers all ask here, so that a workflow means the same everywhere. A verdict costs as much as the step has incoming
edges; building a :class:`StepFlow` costs as much as there are edges.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from compiler.plan import Edge, Plan, Step
from operators.execution.bodies import body_prefix, items_of_maps, top_level
from operators.execution.records import DECIDED, StepRecord, StepStatus

Verdict = Literal["waiting", "run", "skip"]
Journal = Mapping[str, StepRecord]


class StepFlow:
    """The edges of steps that name each other, indexed in both directions: those of a plan, or of a map's body.

    A journal that is given to it may also hold what the bodies of its maps have journaled.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps: dict[str, Step] = {step.id: step for step in steps}
        self._incoming: dict[str, list[tuple[str, Edge]]] = {step.id: [] for step in steps}
        for step in steps:
            for edge in step.edges:
                self._incoming[edge.target].append((step.id, edge))

    def successors(self, step_id: str) -> Iterator[str]:
        """Yield the steps an edge of ``step_id`` leads to, each once, in document order."""
        yield from dict.fromkeys(edge.target for edge in self.steps[step_id].edges)

    def verdict(self, step_id: str, journal: Journal) -> Verdict:
        """Say whether a step that has not started may run, is skipped, or has to wait.

        ``join: all`` waits until every incoming edge is decided; ``join: any`` runs at the first one taken. A step
        without incoming edges runs at once.
        """
        incoming = self._incoming[step_id]
        if not incoming:
            return "run"
        taken = [self.taken(predecessor, edge, journal.get(predecessor)) for predecessor, edge in incoming]
        if any(taken) and (self.steps[step_id].join == "any" or None not in taken):
            return "run"
        return "waiting" if None in taken else "skip"

    def taken(self, step_id: str, edge: Edge, record: StepRecord | None) -> bool | None:
        """Say whether an edge was taken; None while that is undecided.

        An unhandled failure and what it left behind decide nothing: the steps behind are not skipped, they become
        ``upstream_failed`` (see :meth:`aftermath`), and run after all if the execution is reopened.
        """
        if record is None:
            return None
        if record.status == "success":
            return edge.kind == "next" or _chooses(record.output, edge)
        if record.status == "failed" and not self.is_unhandled(record):
            return edge.kind == ("goto" if self.steps[step_id].on_error == "goto" else "next")
        return False if record.status == "skipped" else None

    def undecided_edges(self, step_id: str, journal: Journal) -> int:
        """Count the incoming edges of a step of which it is not yet known whether they are taken."""
        return sum(
            self.taken(predecessor, edge, journal.get(predecessor)) is None
            for predecessor, edge in self._incoming[step_id]
        )

    def is_unhandled(self, record: StepRecord) -> bool:
        """Tell whether a record is a failure that ends the execution."""
        return record.status == "failed" and self.steps[record.id].on_error == "fail"

    def unhandled(self, journal: Journal) -> list[StepRecord]:
        """Return the unhandled failures, in document order."""
        return [
            journal[step_id] for step_id in self.steps if step_id in journal and self.is_unhandled(journal[step_id])
        ]

    def undecided(self, journal: Journal) -> list[str]:
        """Return the steps that have no final status yet, in document order."""
        return [step_id for step_id in self.steps if not is_decided(journal.get(step_id))]

    def aftermath(self, journal: Journal) -> dict[str, StepStatus]:
        """Say what becomes of the undecided steps of an execution in which nothing starts any more.

        Skips that are certain stay skips. Steps behind an unhandled failure, through any edges, are
        ``upstream_failed``; all others ``cancelled``.
        """
        undecided = self.undecided(journal)
        behind = self.behind(record.id for record in self.unhandled(journal))
        fate: dict[str, StepStatus] = {
            step_id: "upstream_failed" if step_id in behind else "cancelled" for step_id in undecided
        }
        fate.update(dict.fromkeys(Progress(self, journal).open().skipped, "skipped"))
        return fate

    def behind(self, step_ids: Iterable[str]) -> set[str]:
        """Return every step that can be reached from the given ones through edges of any kind."""
        reached: set[str] = set()
        todo = list(step_ids)
        while todo:
            for target in self.successors(todo.pop()):
                if target not in reached:
                    reached.add(target)
                    todo.append(target)
        return reached

    def default_output(self, journal: Journal) -> dict[str, JsonValue]:
        """Return ``{id: output}`` of the successful steps without outgoing edges, in document order."""
        return {
            step.id: journal[step.id].output
            for step in self.steps.values()
            if not step.edges and step.id in journal and journal[step.id].status == "success"
        }


class Flow(StepFlow):
    """A plan's edges.

    :param plan: The plan; it is read once and kept.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.steps)
        self.plan = plan

    def kept(self, journal: Journal) -> dict[str, StepRecord]:
        """Return what stays of a journal when the execution is reopened: failed steps and what follows run again.

        A map follows the steps of its body: where one of them failed, it runs again too, and what its body has
        journaled besides stays.
        """
        again = _again(self, journal, "", items_of_maps(journal))
        return {step_id: record for step_id, record in journal.items() if step_id not in again}

    def kept_besides(self, journal: Journal, step_ids: Iterable[str]) -> dict[str, StepRecord]:
        """Return what stays of a journal when some steps run again whatever came of them, and what follows them does.

        Elsewhere what came to no good end runs again too; a failure that was handled is one. With a map go its items.
        """
        again = {*step_ids}
        again |= {step_id for step_id in self.steps if step_id in journal and not self._is_settled(journal[step_id])}
        again |= self.behind(again)
        return {journal_id: record for journal_id, record in journal.items() if top_level(journal_id) not in again}

    def _is_settled(self, record: StepRecord) -> bool:
        handled = record.status == "failed" and not self.is_unhandled(record)
        return handled or record.status in ("success", "skipped")


def _again(flow: StepFlow, journal: Journal, prefix: str, items: Mapping[str, set[int]]) -> set[str]:
    """Return the journal ids of what runs again of some steps and of the bodies inside them.

    :param prefix: Before the ids of these steps in the journal.
    """
    again: set[str] = set()
    own: set[str] = set()
    for step in flow.steps.values():
        journal_id = prefix + step.id
        record = journal.get(journal_id)
        inner: set[str] = set()
        body = StepFlow(step.body)
        for index in items.get(journal_id, ()):
            inner |= _again(body, journal, body_prefix(journal_id, index), items)
        if inner or (record is not None and record.status not in ("success", "skipped")):
            own.add(step.id)
        again |= inner
    behind = flow.behind(own)
    again |= {prefix + step_id for step_id in own | behind}
    for step_id in behind:
        if flow.steps[step_id].body:
            # Its items may be others then.
            again.update(journal_id for journal_id in journal if journal_id.startswith(f"{prefix}{step_id}["))
    return again


@dataclass(frozen=True, slots=True)
class Advance:
    """What became certain: steps to skip, and steps that may run now, both in the order they were found."""

    skipped: list[str]
    ready: list[str]


class Progress:
    """The verdicts of an execution in motion, without asking every step again at every event.

    It counts for each step the incoming edges that are still undecided and asks :meth:`Flow.verdict` only when that can
    have changed: at zero, and for ``join: any`` at an edge taken.

    :param flow: The edges of the steps.
    :param journal: What is known at the start; it is copied.
    :param only: The steps to give verdicts on; None means all.
    """

    def __init__(self, flow: StepFlow, journal: Journal, only: Iterable[str] | None = None) -> None:
        self.flow = flow
        self.journal: dict[str, StepRecord] = dict(journal)
        self.only = set(flow.steps if only is None else only)
        self._announced: set[str] = set()
        self._undecided_edges = {step_id: flow.undecided_edges(step_id, journal) for step_id in self.only}

    def open(self) -> Advance:
        """Return what is certain from the start."""
        return self._follow(step_id for step_id in self.flow.steps if step_id in self.only)

    def add(self, record: StepRecord) -> Advance:
        """Take the final record of a step and return what it makes certain. Skips are added to the journal too."""
        return self._follow(self._note(record))

    def _follow(self, candidates: Iterable[str]) -> Advance:
        advance = Advance([], [])
        todo = deque(candidates)
        while todo:
            step_id = todo.popleft()
            if step_id in self._announced or is_decided(self.journal.get(step_id)):
                continue
            verdict = self.flow.verdict(step_id, self.journal)
            if verdict == "run":
                self._announced.add(step_id)
                advance.ready.append(step_id)
            elif verdict == "skip":
                advance.skipped.append(step_id)
                todo.extend(self._note(StepRecord(id=step_id, status="skipped")))
        return advance

    def _note(self, record: StepRecord) -> list[str]:
        """Put a record into the journal; return the steps whose verdict it may have changed."""
        self.journal[record.id] = record
        changed: list[str] = []
        for edge in self.flow.steps[record.id].edges:
            taken = self.flow.taken(record.id, edge, record)
            if taken is None or edge.target not in self.only:
                continue
            self._undecided_edges[edge.target] -= 1
            if self._undecided_edges[edge.target] == 0 or (taken and self.flow.steps[edge.target].join == "any"):
                changed.append(edge.target)
        return changed


def is_decided(record: StepRecord | None) -> bool:
    """Tell whether a step has its final status."""
    return record is not None and record.status in DECIDED


def _chooses(output: JsonValue, edge: Edge) -> bool:
    """Tell whether a success's output chooses an edge: a conditional's its target, an approval's its decision."""
    if not isinstance(output, dict):
        return False
    if edge.kind in ("then", "default"):
        return output.get("branch") == edge.target
    return edge.kind in ("approve", "reject") and output.get("decision") == edge.kind


def is_waiting(record: StepRecord | None) -> bool:
    """Tell whether a step gave its process back while it waits: it is run again, and goes on where it was."""
    return record is not None and record.status == "running" and record.started_at is not None
