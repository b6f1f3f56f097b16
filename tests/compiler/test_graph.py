"""The graph's answers, compared with slow and simple ones."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.graph import Graph, members

pytestmark = pytest.mark.unit

Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn, *, acyclic: bool = False) -> tuple[int, Edges]:
    size = draw(st.integers(1, 8))
    node = st.integers(0, size - 1)
    edges = draw(st.lists(st.tuples(node, node), max_size=16))
    return size, [(a, b) for a, b in edges if a < b] if acyclic else edges


def reachable(edges: Edges, start: int, without: frozenset[int] = frozenset()) -> set[int]:
    """Return what can be reached from a node in one step or more."""
    found: set[int] = set()
    todo = [start]
    while todo:
        node = todo.pop()
        for source, target in edges:
            if source == node and target not in found and target not in without:
                found.add(target)
                todo.append(target)
    return found


@settings(max_examples=300, deadline=None)
@given(graphs())
def test_ancestors_and_cycles(drawn: tuple[int, Edges]) -> None:
    size, edges = drawn
    graph = Graph(size, edges)
    upstream = [{source for source in range(size) if node in reachable(edges, source)} for node in range(size)]
    assert [set(members(bits)) for bits in graph.ancestors()] == upstream
    in_cycle = frozenset(node for node in range(size) if node in upstream[node])
    assert {node for group in graph.cycles() for node in group} == in_cycle
    for group in graph.cycles():
        assert all(upstream[node] >= set(group) for node in group)
    starts = {node for node in range(size) if not any(target == node for _, target in edges)}
    reached = starts.union(*(reachable(edges, start, in_cycle) for start in starts))
    assert graph.only_behind_cycles() == [n for n in range(size) if n not in reached and n not in in_cycle]


@settings(max_examples=300, deadline=None)
@given(graphs(acyclic=True), st.lists(st.booleans(), min_size=8, max_size=8))
def test_what_is_surely_decided(drawn: tuple[int, Edges], joins: list[bool]) -> None:
    """Play every way in which the edges may be decided first, and see what is decided whenever a node starts."""
    size, edges = drawn
    expected: list[set[int]] = []
    for node in range(size):
        before = [expected[source] | {source} for source in sorted({a for a, b in edges if b == node})]
        meet = set.intersection if joins[node] else set.union
        expected.append(meet(*before) if before else set())
    assert [set(members(bits)) for bits in Graph(size, edges).surely_decided(joins)] == expected


def test_a_long_chain_needs_no_recursion() -> None:
    graph = Graph(5_000, [(node, node + 1) for node in range(4_999)])
    assert graph.ancestors()[4_999] == (1 << 4_999) - 1
    assert graph.cycles() == []
