"""What holds for the units of any plan."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.fuse import FusionStep
from compiler.graph import Graph, members
from compiler.plan import Unit


def check_units(steps: Sequence[FusionStep], units: Sequence[Unit]) -> None:
    """Check that units are a partition of the steps without a cycle, and that nothing waits for what it need not."""
    numbers = {step.id: number for number, step in enumerate(steps)}
    graph = Graph(len(steps), [(numbers[step.id], numbers[target]) for step in steps for target in step.targets])
    owner = {step: unit for unit in units for step in unit.steps}
    assert sorted(owner) == sorted(numbers)
    assert sum(len(unit.steps) for unit in units) == len(steps)
    places = {unit.id: place for place, unit in enumerate(units)}
    assert len(places) == len(units)
    above = Graph(len(units), [(places[name], places[unit.id]) for unit in units for name in unit.upstream])
    assert above.cycles() == []
    for unit in units:
        own = [steps[numbers[name]] for name in unit.steps]
        assert [step.id for step in own] == sorted(unit.steps, key=numbers.__getitem__)
        assert {step.kind for step in own} == {unit.kind}
        assert unit.kind == "segment" or len(own) == 1
        before = {step.id: {steps[node].id for node in graph.predecessors[numbers[step.id]]} for step in own}
        outside = {step_id: found - set(unit.steps) for step_id, found in before.items()}
        # Units are joined where steps are, and nowhere else.
        assert set(unit.upstream) == {owner[name].id for found in outside.values() for name in found}
        begins = [step.id for step in own if step.joins_any and outside[step.id]]
        assert unit.starts_on_any == bool(begins)
        # What starts at the first of several edges begins its unit, so that nothing else in it has to wait.
        assert all(not before[name] & set(unit.steps) for name in begins)
    _check_waiting(steps, units, graph, above, owner, numbers)


def _check_waiting(
    steps: Sequence[FusionStep],
    units: Sequence[Unit],
    graph: Graph,
    above: Graph,
    owner: dict[str, Unit],
    numbers: dict[str, int],
) -> None:
    """Check that no step waits for a barrier that is not upstream of it."""
    upstream, before = graph.ancestors(), above.ancestors()
    places = {unit.id: place for place, unit in enumerate(units)}
    for step in steps:
        waits_for = {name for place in members(before[places[owner[step.id].id]]) for name in units[place].steps}
        barriers = {name for name in waits_for if steps[numbers[name]].barrier}
        assert barriers <= {steps[node].id for node in members(upstream[numbers[step.id]])}, step.id
