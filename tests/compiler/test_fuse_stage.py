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
    """Read rows such as ``a > b c``; ``a!`` is a barrier, ``a?`` joins any."""
    made = []
    for row in rows:
        name, _, targets = row.partition(">")
        name = name.strip()
        kind: UnitKind = "wait" if "!" in name else "segment"
        made.append(FusionStep(name.rstrip("!?"), tuple(targets.split()), kind, "?" in name))
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
    ],
)
def test_segments(rows: list[str], expected: list[str]) -> None:
    assert shape(fuse(steps(*rows), "auto")) == expected


def test_fusion_off_makes_every_step_a_unit() -> None:
    rows = steps("a > b c", "b > d", "c > d", "d? > e", "e", "f?")
    assert shape(fuse(rows, "off")) == ["a(a)", "b(b) < a", "c(c) < a", "d(d)? < b c", "e(e) < d", "f(f)"]


def test_fusion_of_workflows() -> None:
    source = workflow(choice("a", ("{{ 1 }}", "b"), default="b"), transform("b"), transform("c"))
    assert [unit.id for unit in plan_of(source).units] == ["segment.a", "c"]
    assert [unit.id for unit in plan_of(source, fusion="off").units] == ["a", "b", "c"]
    off = {**source, "settings": {"fusion": "off"}}
    assert plan_of(off).fusion == "off"
    assert [unit.id for unit in plan_of(off).units] == ["a", "b", "c"]
    assert plan_of(off, fusion="auto").fusion == "auto"


@st.composite
def plans(draw: st.DrawFn) -> list[FusionStep]:
    """Draw steps whose edges lead forward in a hidden order that is not the document's."""
    size = draw(st.integers(1, 9))
    order = draw(st.permutations(range(size)))
    pairs = [(source, target) for source in range(size) for target in range(source + 1, size)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    kinds = draw(st.lists(st.sampled_from(["light", "light", "barrier"]), min_size=size, max_size=size))
    joins = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return [
        FusionStep(
            f"s{number}",
            tuple(f"s{target}" for source, target in chosen if source == number),
            "code" if kinds[number] == "barrier" else "segment",
            joins[number],
        )
        for number in order
    ]


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
        assert len({before[number] for number in inside}) == 1, "no step waits for a foreign barrier"
        assert len(inside) == 1 or not barriers & set(inside)
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
