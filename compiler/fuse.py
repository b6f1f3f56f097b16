"""Stage 5, fuse: groups the steps into the units that become Airflow tasks.

An Airflow task costs about half a second before any work. So light steps that touch share one: a *segment* is a
maximal connected group of light steps with the same set of barriers upstream. Since barriers upstream only become more
along an edge, no segment waits for itself, and no step waits for a barrier that is not upstream of it.

Barriers that keep company (code steps alike in all that a child process or a pod is made for) share one unit where they
form a chain: the one's only edges lead to the other, which has no other predecessor. Nothing can come between them, so
joining them makes no unit wait for itself either.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

from compiler.graph import Graph
from compiler.plan import Unit, UnitKind


@dataclass(frozen=True, slots=True)
class FusionStep:
    """What fusion must know about a step.

    :param kind: Of the unit that runs it; all but segments are barriers: Airflow tasks of their own.
    :param joins_any: It runs at the first taken edge.
    :param company: Barriers of one kind with the same value may share a unit; None for those that never do.
    """

    id: str
    targets: tuple[str, ...]
    kind: UnitKind = "segment"
    joins_any: bool = False
    company: Hashable | None = None

    @property
    def barrier(self) -> bool:
        """Whether it never shares an Airflow task with light steps."""
        return self.kind != "segment"


def fuse(steps: Sequence[FusionStep], fusion: Literal["auto", "off"]) -> tuple[Unit, ...]:
    """Return the units of a plan, in the order of their first steps.

    :param steps: In document order; their edges have no cycle.
    :param fusion: ``off`` makes every step a unit.
    """
    numbers = {step.id: number for number, step in enumerate(steps)}
    edges = [(number, numbers[target]) for number, step in enumerate(steps) for target in step.targets]
    graph = Graph(len(steps), edges)
    alone = [fusion == "off" or step.barrier for step in steps]
    chained = _chained(steps, graph) if fusion == "auto" else {}
    keys, starters = _keys(steps, graph, alone, chained)
    groups = _groups(graph, alone, keys)
    _join_chains(groups, chained)
    return _units(steps, graph, groups, starters)


def _chained(steps: Sequence[FusionStep], graph: Graph) -> dict[int, int]:
    """Return barrier -> the one before it, where both share a unit."""
    chained = {}
    for node, step in enumerate(steps):
        before = graph.predecessors[node]
        if step.company is None or len(before) != 1:
            continue
        (other,) = before
        alike = (steps[other].kind, steps[other].company) == (step.kind, step.company)
        if alike and step.barrier and len(graph.successors[other]) == 1:
            chained[node] = other
    return chained


def _keys(
    steps: Sequence[FusionStep], graph: Graph, alone: Sequence[bool], chained: dict[int, int]
) -> tuple[list[int], set[int]]:
    """Return for each step what it waits for (as a set of bits), and the steps that start at the first of several.

    A step waits for the barriers upstream of it. An ``any`` step with predecessors elsewhere must not wait for all of
    them, so it begins a segment: it counts as a bit of its own, which it hands on to all that follow it.
    """
    keys = [0] * len(steps)
    starters: set[int] = set()
    for (node,) in graph.components:
        predecessors = graph.predecessors[node]
        key = 0
        for predecessor in predecessors:
            key |= keys[predecessor] | (1 << predecessor if alone[predecessor] else 0)
        starts = steps[node].joins_any and node not in chained
        if starts and any(alone[node] or alone[p] or keys[p] != key for p in predecessors):
            starters.add(node)
            key |= 1 << node
        keys[node] = key
    return keys, starters


def _groups(graph: Graph, alone: Sequence[bool], keys: Sequence[int]) -> list[int]:
    """Return for each step the first step of its group: connected light steps with the same key."""
    first = [-1] * graph.size
    for start in range(graph.size):
        if first[start] != -1:
            continue
        first[start] = start
        todo = [] if alone[start] else [start]
        while todo:
            node = todo.pop()
            for other in (*graph.successors[node], *graph.predecessors[node]):
                if first[other] == -1 and not alone[other] and keys[other] == keys[start]:
                    first[other] = start
                    todo.append(other)
    return first


def _join_chains(groups: list[int], chained: dict[int, int]) -> None:
    """Put the barriers of each chain into one group, named by the first of them in the document."""
    heads: dict[int, int] = {}
    for node in chained:
        head = node
        while head in chained:
            head = chained[head]
        heads[node] = heads[head] = head
    first: dict[int, int] = {}
    for node in sorted(heads):
        groups[node] = first.setdefault(heads[node], node)


def _units(steps: Sequence[FusionStep], graph: Graph, groups: Sequence[int], starters: set[int]) -> tuple[Unit, ...]:
    """Return the units of the groups, with what each waits for."""
    inside: dict[int, list[int]] = {}
    for node, group in enumerate(groups):
        inside.setdefault(group, []).append(node)
    names = {
        group: steps[group].id if len(nodes) == 1 else f"segment.{steps[group].id}" for group, nodes in inside.items()
    }
    units = []
    for group, nodes in inside.items():
        before = {groups[predecessor] for node in nodes for predecessor in graph.predecessors[node]} - {group}
        units.append(
            Unit(
                id=names[group],
                kind=steps[group].kind,
                steps=tuple(steps[node].id for node in nodes),
                upstream=tuple(names[other] for other in sorted(before)),
                starts_on_any=any(node in starters for node in nodes),
            )
        )
    return tuple(units)
