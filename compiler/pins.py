"""Calls that pin a version of the workflow they call, and the DAGs of such versions.

Airflow starts runs of a DAG's newest version only. So a version that somebody pins has a DAG of its own beside the
workflow's: ``<dag id>-v<number>``. No workflow's id has a hyphen, so no workflow has such a DAG id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compiler.plan import Plan, Step

_PINNED = re.compile(r"[a-z][a-z0-9-]*__[a-z][a-z0-9_]*-v([1-9][0-9]{0,8})")

Version = str | int
"""What a call names: a number that publishing gave, or a label, which is ``version`` of the workflow's JSON."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A call that names a version; ``path`` is where, as an RFC 6901 pointer."""

    workflow_id: str
    version: Version
    task_id: str
    path: str


def pins_of(plan: Plan) -> Iterator[Pin]:
    """Yield the calls of a plan that name a version, in document order."""
    yield from _pins(plan.steps, "/tasks")


def _pins(steps: Sequence[Step], path: str) -> Iterator[Pin]:
    for index, step in enumerate(steps):
        version = step.config.get("version") if step.type == "workflow" else None
        if isinstance(version, str | int):
            yield Pin(str(step.config["workflow"]), version, step.id, f"{path}/{index}/config/version")
        yield from _pins(step.body, f"{path}/{index}/config/tasks")


def pinned_dag_id(dag_id: str, number: int) -> str:
    """Return the id of the DAG that a version has where it is pinned.

    :param dag_id: The workflow's own.
    """
    return f"{dag_id}-v{number}"


def pinned_number(dag_id: str) -> int | None:
    """Return the version that a DAG is of; None for a workflow's own DAG, and for one that is none of ours."""
    match = _PINNED.fullmatch(dag_id)
    return int(match[1]) if match else None
