"""The plan: a checked workflow as the runtime reads it.

The plan is the neutral middle between the workflow format and Airflow. It holds all tenant text (prompts, messages,
schemas, titles); the DAG file beside it holds none. Everything is resolved: edges are explicit, durations are seconds,
defaults are filled in, inferred schemas are written out. Expressions stay strings and are evaluated at run time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue

PLAN_FORMAT: Literal[1] = 1

EdgeKind = Literal["next", "then", "default", "approve", "reject", "goto"]
Join = Literal["all", "any"]
Network = Literal["none", "egress"]
UnitKind = Literal["segment", "approval", "code", "container", "map", "wait", "workflow"]
"""What an Airflow task runs: a segment of light steps, or barriers of one type."""


class PlanModel(BaseModel):
    """Base of the plan's models: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Edge(PlanModel):
    """An edge out of a step. ``next`` is taken by every success; ``then`` and ``default`` only when the step's output
    chooses ``target``; the routes ``approve`` and ``reject`` only by that decision; ``goto`` only by a failure."""

    target: str
    kind: EdgeKind


class Retry(PlanModel):
    """Attempts of a step; ``attempts`` counts the first. Delay before attempt n+1 in seconds:
    ``min(max_backoff_seconds, backoff_seconds * 2 ** (n - 1))``."""

    attempts: int = 1
    backoff_seconds: float = 1.0
    max_backoff_seconds: float = 60.0


class Limits(PlanModel):
    """What tenant code may use: ``cpu_millicores`` of a core's thousand, memory and storage in bytes."""

    cpu_millicores: int
    memory_bytes: int
    ephemeral_storage_bytes: int


class Pod(PlanModel):
    """The Kubernetes pod of a ``code`` or ``container`` step. What runs in it is not part of it: a code step's program
    and input are brought in as data, a container's command is in the step's config.

    ``timeout_seconds`` is of one attempt.
    """

    image: str
    network: Network
    limits: Limits
    timeout_seconds: float


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: object) -> bool:
    return value == ()


class Step(PlanModel):
    """One task of the workflow, ready to run.

    ``edges`` are in document order and hold no duplicates. ``timeout_seconds`` is per attempt. ``on_error`` is
    ``goto`` when there is one edge of that kind. ``config`` is the task's config with defaults filled in; for an
    ``ai_inference`` ``config["output_schema"]`` also holds an inferred schema.

    ``code`` and ``container`` steps also have ``limits`` and a ``timeout_seconds``, and a ``pod`` where the plan is for
    Kubernetes. ``code`` is the program of a code step, verbatim.
    ``ai_inference`` ``config["output_schema"]`` also holds an inferred schema. ``body`` is what a ``map`` runs for each
    item: steps that name each other only.
    """

    id: str
    type: str
    config: dict[str, JsonValue]
    edges: tuple[Edge, ...] = ()
    join: Join = "all"
    retry: Retry = Retry()
    timeout_seconds: float | None = None
    on_error: Literal["fail", "continue", "goto"] = "fail"
    # Left out of the plans of all other steps.
    code: str | None = Field(default=None, exclude_if=_is_none)
    limits: Limits | None = Field(default=None, exclude_if=_is_none)
    pod: Pod | None = Field(default=None, exclude_if=_is_none)
    body: tuple[Step, ...] = Field(default=(), exclude_if=_is_empty)


def every_step(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield steps and those of their bodies, in document order."""
    for step in steps:
        yield step
        yield from every_step(step.body)


class Unit(PlanModel):
    """What one Airflow task runs: a segment of light steps, a chain of like code steps, or another barrier; ``kind``
    says which operator runs it.

    ``id`` is the Airflow task id: the step's id where there is one step, else ``segment.<first step's id>``.
    ``steps`` are step ids in document order; ``upstream`` are unit ids. ``starts_on_any`` is true where the unit
    begins with a step whose ``join`` is ``any`` and whose predecessors are in other units: it starts at the first
    edge taken instead of waiting for all of them.
    """

    id: str
    kind: UnitKind = "segment"
    steps: tuple[str, ...]
    upstream: tuple[str, ...] = ()
    starts_on_any: bool = False


class Trigger(PlanModel):
    """A trigger with its config, defaults filled in (webhook: ``path`` without ``/webhook/``, ``method`` upper
    case, ``auth``, ``response {mode, timeout_seconds}``)."""

    type: str
    config: dict[str, JsonValue] = Field(default_factory=dict)


class Concurrency(PlanModel):
    """How many executions of the workflow may be unfinished in Airflow at a time; with ``key``, for each value of this
    expression, which is evaluated at acceptance."""

    limit: int
    key: str | None = None


Conflict = Literal["fail", "use_existing", "terminate_existing"]


class Plan(PlanModel):
    """A compiled workflow.

    ``has_output`` tells an absent ``output`` from ``null``. ``timeout_seconds`` counts from acceptance. A ``conflict``
    never stands without ``concurrency``. ``error_workflow`` is the id of a workflow of the same organisation.
    """

    format: Literal[1] = PLAN_FORMAT
    organization: str
    workflow_id: str
    name: str
    label: str
    description: str | None = None
    triggers: tuple[Trigger, ...]
    input_schema: dict[str, JsonValue] | None = None
    vars: tuple[str, ...] = ()
    steps: tuple[Step, ...]
    units: tuple[Unit, ...]
    has_output: bool = False
    output: JsonValue = None
    timeout_seconds: float | None = None
    concurrency: Concurrency | None = None
    conflict: Conflict | None = None
    error_workflow: str | None = None
    fusion: Literal["auto", "off"] = "auto"
    isolation: Literal["process", "kubernetes"] = "process"

    @property
    def dag_id(self) -> str:
        """Airflow's DAG id, also the stem of the artifact's file names."""
        return f"{self.organization}__{self.workflow_id}"

    def to_bytes(self) -> bytes:
        """Return the plan file's bytes: the same for the same plan on any machine, any day."""
        data: dict[str, Any] = self.model_dump(mode="json")
        return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Read a plan file.

        :raises pydantic.ValidationError: The bytes are no plan of this format.
        """
        return cls.model_validate(orjson.loads(data))


def plan_digest(plan_bytes: bytes) -> str:
    """Return the sha256 of a plan file in hex: the identity of a published version."""
    return hashlib.sha256(plan_bytes).hexdigest()
