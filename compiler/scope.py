"""What the expressions of a workflow may refer to, and from where.

A *level* is a list of tasks with its own graph: the workflow's, and for each ``map`` that of its body. A body sees what
is upstream of its map; outside, only the map itself is seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from compiler.graph import Graph, members
from compiler.plan import Edge
from compiler.resolve import Task

Standing = Literal["upstream", "not_upstream", "racy", "unsure", "unknown"]


@dataclass(slots=True)
class Level:
    """A list of tasks that name each other.

    :param edges: For each task its edges to tasks of this level, without duplicates, in document order.
    :param broken: Tasks (as a set of bits) that may mean other edges: one names no task, or could not be read.
    :param outer: The level around it and the number of the map there; None for the workflow's.
    :param item: The name of the map's item.
    :param bodies: The levels of the bodies of maps, by the number of the map; filled in as they are checked.
    """

    tasks: list[Task]
    edges: list[tuple[Edge, ...]]
    broken: int = 0
    outer: tuple[Level, int] | None = None
    item: str | None = None
    bodies: dict[int, Level] = field(default_factory=dict)
    numbers: dict[str, int] = field(init=False)
    graph: Graph = field(init=False)
    ancestors: list[int] = field(init=False)
    decided: list[int] = field(init=False)
    unsure: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.numbers = {}
        for number, task in enumerate(self.tasks):
            self.numbers.setdefault(task.id, number)
        pairs = ((source, self.numbers[edge.target]) for source, edges in enumerate(self.edges) for edge in edges)
        self.graph = Graph(len(self.tasks), pairs)
        self.ancestors = self.graph.ancestors()
        joins_any = [task.fields is not None and task.fields.join == "any" for task in self.tasks]
        # In a cycle nothing is decided before anything else; the cycle is reported, so call nothing racy.
        self.decided = self.ancestors if self.graph.cycles() else self.graph.surely_decided(joins_any)
        # Behind such a task everything may be meant to follow: the one slip is reported once.
        for number in members(self.broken):
            self.unsure |= self.ancestors[number] | 1 << number

    def standing(self, name: str, reader: int | None) -> Standing:
        """Say how a task stands to the reader of an expression.

        :param reader: The task that holds the expression; None for one that is evaluated after all tasks.
        """
        number = self.numbers.get(name)
        if number is None:
            return self.outer[0].standing(name, self.outer[1]) if self.outer else "unknown"
        if reader is None or self.decided[reader] >> number & 1:
            return "upstream"
        if self.ancestors[reader] >> number & 1:
            return "racy"
        return "unsure" if self.unsure >> number & 1 else "not_upstream"

    def items(self) -> Iterator[str]:
        """Yield the names of the items of the maps around, the nearest first."""
        if self.item is not None:
            yield self.item
        if self.outer is not None:
            yield from self.outer[0].items()

    def names(self) -> list[str]:
        """Return the ids of the tasks that can be seen from here."""
        return [*self.numbers, *(self.outer[0].names() if self.outer else ())]
