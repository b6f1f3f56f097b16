"""Stage 4, plan: a checked workflow becomes a plan with everything resolved and written out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from compiler.check import CheckedWorkflow
from compiler.expressions import Use
from compiler.fuse import FusionStep, fuse
from compiler.infer import infer_schema
from compiler.model import ResourceLimits, RetryFields, Settings, TaskFields, config_as_json
from compiler.plan import Concurrency, Edge, Limits, Plan, Pod, Retry, Step, Trigger, UnitKind
from compiler.quantities import CPU, MEMORY, STORAGE
from compiler.resolve import Task
from compiler.scope import Level
from compiler.steps import STEP_TYPES
from compiler.steps.ai_inference import AIInferenceConfig
from compiler.steps.code import DEFAULT_IMAGES, CodeConfig
from compiler.steps.container import ContainerConfig
from compiler.steps.map import MapConfig
from compiler.triggers import trigger_as_json

Isolation = Literal["process", "kubernetes"]
Fusion = Literal["auto", "off"]

CODE_TIMEOUT_SECONDS = 60.0
"""Of an attempt of tenant code that names no ``timeout``: it may never end by itself."""
DEFAULT_LIMITS = ResourceLimits(cpu="1", memory="512Mi", ephemeral_storage="256Mi")
"""What tenant code may use where a task does not say."""


def make_plan(checked: CheckedWorkflow, *, organization: str, isolation: Isolation, fusion: Fusion | None) -> Plan:
    """Return the plan of a workflow that was checked without errors.

    :param fusion: Overrules ``settings.fusion``; None leaves it.
    """
    fields = checked.workflow.fields
    assert fields is not None, "a workflow without errors has its fields"
    steps = _steps(checked, isolation)
    chosen = fusion or fields.settings.fusion
    return Plan(
        organization=organization,
        workflow_id=fields.id,
        name=fields.name,
        label=fields.version,
        description=fields.description,
        triggers=tuple(
            Trigger(type=trigger.type, config=trigger_as_json(trigger.config))
            for trigger in checked.workflow.triggers
            if trigger.config is not None
        ),
        input_schema=fields.input,
        vars=tuple(fields.vars),
        steps=steps,
        units=fuse([_for_fusion(step) for step in steps], chosen),
        has_output="output" in fields.model_fields_set,
        output=fields.output,
        timeout_seconds=fields.settings.timeout,
        concurrency=_concurrency(fields.settings),
        conflict=fields.settings.conflict,
        error_workflow=fields.settings.error_workflow,
        fusion=chosen,
        isolation=isolation,
    )


def _concurrency(settings: Settings) -> Concurrency | None:
    """Return the limit; a ``conflict`` without one means one execution at a time."""
    if settings.concurrency is not None:
        return Concurrency(limit=settings.concurrency.limit, key=settings.concurrency.key)
    return None if settings.conflict is None else Concurrency(limit=1)


def _steps(checked: CheckedWorkflow, isolation: Isolation) -> tuple[Step, ...]:
    uses: dict[str, list[Use]] = {}
    for use in checked.uses:
        uses.setdefault(use.root, []).append(use)
    return _steps_of(checked.level, uses, isolation)


def _steps_of(level: Level, uses: Mapping[str, Sequence[Use]], isolation: Isolation) -> tuple[Step, ...]:
    """Return the steps of a level, each map with those of its body."""
    steps = []
    for number, task in enumerate(level.tasks):
        body = _steps_of(level.bodies[number], uses, isolation) if number in level.bodies else ()
        steps.append(_step(task, level.edges[number], uses.get(task.id, ()), body, isolation))
    return tuple(steps)


def _step(
    task: Task, edges: tuple[Edge, ...], uses: Sequence[Use], body: tuple[Step, ...], isolation: Isolation
) -> Step:
    fields = task.fields
    assert fields is not None, "a task without errors has its fields"
    return Step(
        id=task.id,
        type=task.type,
        config=_config(task, uses),
        edges=edges,
        join=fields.join,
        retry=_retry(fields.retry),
        on_error=_on_error(fields),
        body=body,
        **_tenant_code(task, fields, isolation),
    )


def _tenant_code(task: Task, fields: TaskFields, isolation: Isolation) -> dict[str, Any]:
    """Return what only the steps have that run tenant code."""
    if not isinstance(task.config, CodeConfig | ContainerConfig):
        return {"timeout_seconds": fields.timeout}
    timeout = fields.timeout or CODE_TIMEOUT_SECONDS
    limits = limits_of(fields.resource_limits)
    pod = None
    if isolation == "kubernetes":
        image = fields.runtime_image
        if image is None:
            assert isinstance(task.config, CodeConfig), "a container without errors has an image"
            image = DEFAULT_IMAGES[task.config.language]
        pod = Pod(image=image, network=task.config.network, limits=limits, timeout_seconds=timeout)
    return {"timeout_seconds": timeout, "code": fields.code, "limits": limits, "pod": pod}


def limits_of(given: ResourceLimits | None) -> Limits:
    """Return limits as numbers; what a task does not name has its default."""
    chosen = {**DEFAULT_LIMITS.model_dump(), **(given.model_dump(exclude_none=True) if given else {})}
    return Limits(
        cpu_millicores=CPU.count(chosen["cpu"]),
        memory_bytes=MEMORY.count(chosen["memory"]),
        ephemeral_storage_bytes=STORAGE.count(chosen["ephemeral_storage"]),
    )


def _config(task: Task, uses: Sequence[Use]) -> dict[str, Any]:
    """Return a task's config with its defaults, and with the schema its uses imply."""
    assert task.config is not None, "a task without errors has its config"
    config = config_as_json(task.config)
    if isinstance(task.config, MapConfig):
        # They are the steps of the body.
        del config["tasks"]
    if isinstance(task.config, AIInferenceConfig) and config.get("output_schema") is None:
        schema = infer_schema(uses)
        if schema is not None:
            config["output_schema"] = schema
            config["schema_inferred"] = True
    return config


def _retry(fields: RetryFields | None) -> Retry:
    return Retry() if fields is None else Retry(**fields.model_dump())


def _on_error(fields: TaskFields) -> Literal["fail", "continue", "goto"]:
    return fields.on_error if isinstance(fields.on_error, str) else "goto"


def _for_fusion(step: Step) -> FusionStep:
    targets = tuple(edge.target for edge in step.edges)
    # A barrier's kind is its type: pydantic refuses a unit of another one.
    kind = cast(UnitKind, step.type) if _is_barrier(step) else "segment"
    return FusionStep(step.id, targets, kind, step.join == "any", _company(step))


def _company(step: Step) -> tuple[Any, ...] | None:
    """Return what code steps must have in common to share a child process or a pod."""
    if step.type != "code":
        return None
    if step.pod is not None and step.config["language"] != "python":
        # Only Python's keeper can close itself to the steps it starts: see docs/pods.md.
        return None
    return step.config["language"], step.config["network"], step.limits, step.pod.image if step.pod else None


def _is_barrier(step: Step) -> bool:
    """Tell whether a step is an Airflow task of its own; a map is one if a step of its body is."""
    return STEP_TYPES[step.type].barrier or any(map(_is_barrier, step.body))
