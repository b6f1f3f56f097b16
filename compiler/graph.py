"""The graph of a workflow's tasks: cycles, what is upstream, and what is surely decided when a task starts.

Nodes are numbers in document order. Sets of nodes are the bits of a Python int, so that a union costs one operation
however many tasks there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class Graph:
    """A directed graph over the nodes ``0 .. size-1``; it may have cycles.

    :param edges: Pairs of source and target; pairs that stand twice count once.
    """

    def __init__(self, size: int, edges: Iterable[tuple[int, int]]) -> None:
        self.size = size
        self.successors: list[list[int]] = [[] for _ in range(size)]
        self.predecessors: list[list[int]] = [[] for _ in range(size)]
        for source, target in dict.fromkeys(edges):
            self.successors[source].append(target)
            self.predecessors[target].append(source)
        self.components = _components(self.successors)
        """Strongly connected components, each before those it has edges to; a component is in document order."""

    def cycles(self) -> list[list[int]]:
        """Return the groups of nodes that lead back to themselves."""
        return [group for group in self.components if len(group) > 1 or group[0] in self.successors[group[0]]]

    def only_behind_cycles(self) -> list[int]:
        """Return the nodes outside of cycles that can be reached only through one, in document order."""
        in_cycle = {node for group in self.cycles() for node in group}
        todo = [node for node in range(self.size) if not self.predecessors[node]]
        reached = set(todo)
        while todo:
            for target in self.successors[todo.pop()]:
                if target not in reached and target not in in_cycle:
                    reached.add(target)
                    todo.append(target)
        return [node for node in range(self.size) if node not in reached and node not in in_cycle]

    def ancestors(self) -> list[int]:
        """Return for each node the set of nodes from which it can be reached. In a cycle all are ancestors of all."""
        upstream = [0] * self.size
        for group in self.components:
            bits = 0
            for node in group:
                for predecessor in self.predecessors[node]:
                    bits |= upstream[predecessor] | 1 << predecessor
            for node in group:
                upstream[node] = bits
        return upstream

    def surely_decided(self, joins_any: Sequence[bool]) -> list[int]:
        """Return for each node the set of nodes that are decided whenever it starts.

        :param joins_any: Whether a node starts at its first taken edge: then only what is behind *every* predecessor
            is sure. For a graph without cycles.
        """
        decided = [0] * self.size
        for (node,) in self.components:
            behind = [decided[predecessor] | 1 << predecessor for predecessor in self.predecessors[node]]
            if not behind:
                continue
            bits = behind[0]
            for other in behind[1:]:
                bits = bits & other if joins_any[node] else bits | other
            decided[node] = bits
        return decided


def members(bits: int) -> Iterator[int]:
    """Yield the nodes of a set in ascending order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _components(successors: list[list[int]]) -> list[list[int]]:
    """Return the strongly connected components in topological order (Tarjan's algorithm, without recursion)."""
    size = len(successors)
    number = [-1] * size
    lowest = [0] * size
    on_stack = [False] * size
    stack: list[int] = []
    found: list[list[int]] = []
    count = 0
    for root in range(size):
        if number[root] != -1:
            continue
        work = [(root, iter(successors[root]))]
        number[root] = lowest[root] = count
        count += 1
        stack.append(root)
        on_stack[root] = True
        while work:
            node, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[node])
                if lowest[node] == number[node]:
                    found.append(_pop_component(stack, on_stack, node))
            elif number[target] == -1:
                number[target] = lowest[target] = count
                count += 1
                stack.append(target)
                on_stack[target] = True
                work.append((target, iter(successors[target])))
            elif on_stack[target]:
                lowest[node] = min(lowest[node], number[target])
    return found[::-1]


def _pop_component(stack: list[int], on_stack: list[bool], root: int) -> list[int]:
    """Take the component that began at ``root`` off the stack."""
    group: list[int] = []
    while not group or group[-1] != root:
        node = stack.pop()
        on_stack[node] = False
        group.append(node)
    return sorted(group)
