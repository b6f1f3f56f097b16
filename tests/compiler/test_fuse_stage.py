"""Stage fuse: segments are as large as they can be, and nothing waits for itself or for a foreign barrier."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.fuse import FusionStep, fuse
from compiler.graph import Graph, members
from compiler.plan import Unit, UnitKind
from tests.compiler.building import choice, plan_of, transform, workflow

pytestmark = pytest.mark.unit


def steps(*rows: str) -> list[FusionStep]:
    """Read rows such as ``a > b c``; ``a!`` is a barrier, ``a+`` and ``a*`` are code of two sorts, ``a?`` joins any."""
    made = []
    for row in rows:
        name, _, targets = row.partition(">")
        name = name.strip()
        sort = next((mark for mark in "+*" if mark in name), None)
        kind: UnitKind = "wait" if "!" in name else "code" if sort else "segment"
        made.append(FusionStep(name.rstrip("!?+*"), tuple(targets.split()), kind, "?" in name, sort))
    return made


def shape(units: Iterable[Unit]) -> list[str]:
    """Write units as rows such as ``segment.a(a b) < x``; ``?`` marks what starts at any."""
    return [
        f"{unit.id}({' '.join(unit.steps)}){'?' if unit.starts_on_any else ''}"
        + (f" < {' '.join(unit.upstream)}" if unit.upstream else "")
        for unit in units
    ]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["a"], ["a(a)"]),
        (["a > b", "b"], ["segment.a(a b)"]),
        (["b", "a > b"], ["segment.b(b a)"]),
        (["a", "b"], ["a(a)", "b(b)"]),
        (["a > b c", "b > d", "c > d", "d?"], ["segment.a(a b c d)"]),
        (["a > x", "x! > b", "b"], ["a(a)", "x(x) < a", "b(b) < x"]),
        # Around a barrier: c must not wait for x, d must.
        (["a > x c", "x! > d", "c > d", "d"], ["segment.a(a c)", "x(x) < segment.a", "d(d) < segment.a x"]),
        # Behind one barrier two steps that do not touch are two units.
        (["x! > a b", "a", "b"], ["x(x)", "a(a) < x", "b(b) < x"]),
        # An any step with predecessors elsewhere begins a segment and hands on what follows.
        (["a > j", "x! > j", "j? > k", "k"], ["a(a)", "x(x)", "segment.j(j k)? < a x"]),
        (["x! > j", "j?"], ["x(x)", "j(j)? < x"]),
        # The starter cannot be drawn back into the group before it by a step that follows both.
        (["a > j z", "x! > j", "j? > z", "z"], ["a(a)", "x(x)", "segment.j(j z)? < a x"]),
        # With all predecessors in the group an any step starts nothing.
        (["x! > a", "a > b c", "b > j", "c > j", "j?"], ["x(x)", "segment.a(a b c j) < x"]),
        # Code of one sort in a chain shares a unit, named by the first in the document.
        (["a+ > b", "b+ > c", "c+"], ["segment.a(a b c)"]),
        (["c+", "b+ > c", "a+ > b"], ["segment.c(c b a)"]),
        (["a > x", "x+ > y", "y+ > b", "b"], ["a(a)", "segment.x(x y) < a", "b(b) < segment.x"]),
        (["a+ > b", "b* > c", "c*"], ["a(a)", "segment.b(b c) < a"]),
        (["a+ > b", "b! > c", "c+"], ["a(a)", "b(b) < a", "c(c) < b"]),
        # Not where the chain forks or joins: another step would wait for what it need not.
        (["a+ > b c", "b+", "c+"], ["a(a)", "b(b) < a", "c(c) < a"]),
        (["a+ > c", "b+ > c", "c+ > d", "d+"], ["a(a)", "b(b)", "segment.c(c d) < a b"]),
        # One predecessor is the first of one; two are not.
        (["a+ > b", "b+? > c", "c+"], ["segment.a(a b c)"]),
        (["a+ > c", "b+ > c", "c+? > d", "d+"], ["a(a)", "b(b)", "segment.c(c d)? < a b"]),
    ],
)
def test_segments(rows: list[str], expected: list[str]) -> None:
    assert shape(fuse(steps(*rows), "auto")) == expected


def test_fusion_off_makes_every_step_a_unit() -> None:
    rows = steps("a > b c", "b > d", "c > d", "d? > e", "e", "f? > g", "g+ > h", "h+")
    units = ["a(a)", "b(b) < a", "c(c) < a", "d(d)? < b c", "e(e) < d", "f(f)", "g(g) < f", "h(h) < g"]
    assert shape(fuse(rows, "off")) == units


def test_fusion_of_workflows() -> None:
    source = workflow(choice("a", ("{{ 1 }}", "b"), default="b"), transform("b"), transform("c"))
    assert [unit.id for unit in plan_of(source).units] == ["segment.a", "c"]
    assert [unit.id for unit in plan_of(source, fusion="off").units] == ["a", "b", "c"]
    off = {**source, "settings": {"fusion": "off"}}
    assert plan_of(off).fusion == "off"
    assert [unit.id for unit in plan_of(off).units] == ["a", "b", "c"]
    assert plan_of(off, fusion="auto").fusion == "auto"


KINDS: dict[str, UnitKind] = {"light": "segment", "wait": "wait", "code+": "code", "code*": "code"}


@st.composite
def plans(draw: st.DrawFn) -> list[FusionStep]:
    """Draw steps whose edges lead forward in a hidden order that is not the document's."""
    size = draw(st.integers(1, 9))
    order = draw(st.permutations(range(size)))
    pairs = [(source, target) for source in range(size) for target in range(source + 1, size)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    kinds = draw(st.lists(st.sampled_from(["light", "light", "wait", "code+", "code*"]), min_size=size, max_size=size))
    joins = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return [
        FusionStep(
            f"s{number}",
            tuple(f"s{target}" for source, target in chosen if source == number),
            KINDS[kinds[number]],
            joins[number],
            kinds[number] if kinds[number].startswith("code") else None,
        )
        for number in order
    ]


def check_chain(rows: list[FusionStep], graph: Graph, inside: list[int]) -> None:
    """Barriers of a unit are alike, and each but the last leads to the next and nowhere else."""
    assert len({(rows[number].kind, rows[number].company) for number in inside}) == 1
    assert len(inside) == 1 or rows[inside[0]].company is not None
    heads = [number for number in inside if not set(graph.predecessors[number]) & set(inside)]
    assert len(heads) == 1, "one step is the first"
    for number in set(inside) - set(heads):
        (before,) = graph.predecessors[number]
        assert before in inside
        assert graph.successors[before] == [number]


@settings(max_examples=300, deadline=None)
@given(plans())
def test_fusion_of_any_plan(rows: list[FusionStep]) -> None:
    units = fuse(rows, "auto")
    names = [row.id for row in rows]
    numbers = {name: number for number, name in enumerate(names)}
    graph = Graph(len(rows), [(numbers[row.id], numbers[target]) for row in rows for target in row.targets])
    ancestors = graph.ancestors()
    barriers = {number for number, row in enumerate(rows) if row.barrier}
    before = [frozenset(members(bits)) & barriers for bits in ancestors]
    home = {step: index for index, unit in enumerate(units) for step in unit.steps}

    assert sorted(home) == sorted(names), "every step is in one unit"
    assert sum(len(unit.steps) for unit in units) == len(names)
    places = {unit.id: index for index, unit in enumerate(units)}
    between = [(places[other], index) for index, unit in enumerate(units) for other in unit.upstream]
    assert not Graph(len(units), between).cycles(), "no unit waits for itself"
    for unit in units:
        inside = [numbers[step] for step in unit.steps]
        assert inside == sorted(inside)
        if barriers & set(inside):
            check_chain(rows, graph, inside)
        else:
            assert len({before[number] for number in inside}) == 1, "no step waits for a foreign barrier"
        starters = [n for n in inside if rows[n].joins_any and any(home[names[p]] != home[names[n]]
                    for p in graph.predecessors[n])]  # fmt: skip
        assert unit.starts_on_any == bool(starters)
        for starter in starters:
            behind = [number for number in inside if number != starter]
            assert all(ancestors[number] >> starter & 1 for number in behind), "the starter comes first"
            assert all(home[names[p]] != home[names[starter]] for p in graph.predecessors[starter])
    for row in rows:
        for target in row.targets:
            if home[row.id] != home[target]:
                assert units[home[row.id]].id in units[home[target]].upstream
