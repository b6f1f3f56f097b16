"""The journal's ids of the steps in the bodies of maps: ``tickets[0].classify``, ``outer[0].inner[2].step``.

A step of the plan has its own id there, which is an identifier; so ids with a dot are of bodies, and can be read back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from compiler.plan import Step
from operators.execution.records import StepRecord


def body_prefix(map_id: str, index: int) -> str:
    """Return what stands before the ids of a body's steps.

    :param map_id: The map's id in the journal.
    :param index: The item's place in ``over``, from 0.
    """
    return f"{map_id}[{index}]."


def is_of_body(journal_id: str) -> bool:
    """Tell whether an id is of a step in a map's body."""
    return "." in journal_id


def task_id(journal_id: str) -> str:
    """Return the id the task has in the workflow."""
    return journal_id.rpartition(".")[2]


def top_level(journal_id: str) -> str:
    """Return the plan's step that an id belongs to: of ``a[0].b[2].c`` this is ``a``."""
    return journal_id.partition("[")[0]


def records_by_item(journal: Mapping[str, StepRecord]) -> dict[str, dict[str, StepRecord]]:
    """Return for each prefix of :func:`body_prefix` the records of the body's steps, by the ids of their tasks."""
    items: dict[str, dict[str, StepRecord]] = {}
    for journal_id, record in journal.items():
        if is_of_body(journal_id):
            name = task_id(journal_id)
            items.setdefault(journal_id.removesuffix(name), {})[name] = record.model_copy(update={"id": name})
    return items


def items_of_maps(journal_ids: Iterable[str]) -> dict[str, set[int]]:
    """Return for each map, by its id in the journal, the items of which a body step or one further inside is known."""
    items: dict[str, set[int]] = {}
    for journal_id in journal_ids:
        inner = journal_id
        while is_of_body(inner):
            inner, index = _map_and_index(inner)
            known = items.setdefault(inner, set())
            if index in known:
                break
            known.add(index)
    return items


def _map_and_index(journal_id: str) -> tuple[str, int]:
    """Return the map around a body's step and the index of the item: of ``a[0].b[2].c`` these are ``a[0].b`` and 2."""
    map_id, _, index = journal_id.rpartition(".")[0].removesuffix("]").rpartition("[")
    return map_id, int(index)


def with_bodies(steps: Sequence[Step], known: Collection[str]) -> Iterator[tuple[str, Step]]:
    """Yield steps with their ids in the journal, in document order, each map followed by its body, item by item.

    :param known: The ids that are to be shown of bodies; steps outside of bodies are always shown.
    """
    yield from _with_bodies(steps, known, "", items_of_maps(known))


def _with_bodies(
    steps: Sequence[Step], known: Collection[str], prefix: str, items: Mapping[str, set[int]]
) -> Iterator[tuple[str, Step]]:
    for step in steps:
        journal_id = prefix + step.id
        if not prefix or journal_id in known or journal_id in items:
            yield journal_id, step
        for index in sorted(items.get(journal_id, ())):
            yield from _with_bodies(step.body, known, body_prefix(journal_id, index), items)
