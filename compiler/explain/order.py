"""What comes before what in a plan, and what may run at the same time."""

from __future__ import annotations

import heapq

from compiler.graph import Graph, members
from compiler.plan import Edge, Plan, Step

_FAILURE = "!"
_NO_CHOICE = ""
_Needs = dict[str, frozenset[str]]
"""How steps have to end: for a step the targets it may choose, :data:`_NO_CHOICE`, or :data:`_FAILURE`."""


class Order:
    """The order of a plan's steps and units.

    ``steps`` and ``units`` are their ids in an order in which each comes after those it waits for, and otherwise as in
    the document.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._numbers = {step.id: number for number, step in enumerate(plan.steps)}
        edges = [(n, self._numbers[edge.target]) for n, step in enumerate(plan.steps) for edge in step.edges]
        self._graph = Graph(len(plan.steps), edges)
        self._ancestors = self._graph.ancestors()
        self._needed = self._needs()
        places = {unit.id: place for place, unit in enumerate(plan.units)}
        self._places = places
        units = Graph(len(places), [(places[up], places[unit.id]) for unit in plan.units for up in unit.upstream])
        self._unit_ancestors = units.ancestors()
        self.steps = [plan.steps[node].id for node in _sorted(self._graph)]
        self.units = [plan.units[node].id for node in _sorted(units)]

    def after(self, step_id: str) -> tuple[str, ...]:
        """Return the steps with an edge to a step."""
        return tuple(self._plan.steps[node].id for node in sorted(self._graph.predecessors[self._numbers[step_id]]))

    def beside(self, step_id: str) -> tuple[str, ...]:
        """Return the steps that may run at the same time as a step."""
        number = self._numbers[step_id]
        return tuple(
            step.id
            for other, step in enumerate(self._plan.steps)
            if other != number
            and not (self._ancestors[number] >> other | self._ancestors[other] >> number) & 1
            and not _exclude(self._needed[number], self._needed[other])
        )

    def around(self, unit_id: str) -> set[str]:
        """Return the units that never run at the same time as a unit, since one of the two waits for the other."""
        place = self._places[unit_id]
        before = {self._plan.units[other].id for other in members(self._unit_ancestors[place])}
        behind = {unit.id for unit in self._plan.units if self._unit_ancestors[self._places[unit.id]] >> place & 1}
        return before | behind

    def _needs(self) -> list[_Needs]:
        """Return for each step how others must end for it to run, as far as all ways to it have that in common."""
        incoming: dict[str, list[tuple[Step, Edge]]] = {step.id: [] for step in self._plan.steps}
        for step in self._plan.steps:
            for edge in step.edges:
                incoming[edge.target].append((step, edge))
        needed: list[_Needs] = [{} for _ in self._plan.steps]
        for (node,) in self._graph.components:
            ways = [
                {**needed[self._numbers[step.id]], step.id: _ends(step, edge)}
                for step, edge in incoming[self._plan.steps[node].id]
            ]
            if ways:
                common = set.intersection(*(set(way) for way in ways))
                needed[node] = {name: frozenset().union(*(way[name] for way in ways)) for name in common}
        return needed


def _ends(step: Step, edge: Edge) -> frozenset[str]:
    """Return with which ends of a step an edge of it is taken."""
    if edge.kind == "goto":
        return frozenset({_FAILURE})
    if edge.kind != "next":
        return frozenset({edge.target})
    chosen = {other.target for other in step.edges if other.kind not in ("next", "goto")}
    return frozenset({*chosen, _NO_CHOICE, *([_FAILURE] if step.on_error == "continue" else [])})


def _exclude(one: _Needs, other: _Needs) -> bool:
    """Tell whether a step would have to end in two ways at once."""
    return any(one[name].isdisjoint(other[name]) for name in one.keys() & other.keys())


def _sorted(graph: Graph) -> list[int]:
    """Return the nodes so that each comes after its predecessors, and otherwise in ascending order."""
    waiting = [len(predecessors) for predecessors in graph.predecessors]
    ready = [node for node in range(graph.size) if not waiting[node]]
    found: list[int] = []
    while ready:
        node = heapq.heappop(ready)
        found.append(node)
        for target in graph.successors[node]:
            waiting[target] -= 1
            if not waiting[target]:
                heapq.heappush(ready, target)
    return found
