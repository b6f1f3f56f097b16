"""Shows an execution: plan, row and journal put together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from api.executions.schemas import ExecutionView, ItemView, OutputReference, Part, StepInput, StepView, UsageTotal
from api.models import ExecutionStep, WorkflowExecution
from api.workflows.repository import PublishedVersion
from compiler.plan import Plan, Step
from operators.execution.bodies import body_prefix, items_of_maps, with_bodies
from operators.execution.records import DECIDED, Usage


def show_execution(
    execution: WorkflowExecution,
    version: PublishedVersion,
    plan: Plan,
    journal: Iterable[ExecutionStep],
    running: set[str],
    approvals: Mapping[str, UUID],
    *,
    public_url: str,
    airflow_url: str,
    run_id: str,
) -> ExecutionView:
    """Return an execution with every step of the plan, pending ones too.

    :param approvals: Ids of approvals by step.
    :param run_id: Its run in Airflow: the execution's id, or that of the run it was made for.
    After each map stand the steps of its bodies that have begun or are decided.
    """
    url = f"{public_url}/api/v1/executions/{execution.id}"
    records = {record.step_id: record for record in journal}
    known = records.keys() | running
    items = items_of_maps(known)
    steps = [
        _show_step(step_id, step.type, records.get(step_id), step_id in running, url).model_copy(
            update={"approval_id": approvals.get(step_id), "items": show_items(step_id, step, items, records)}
        )
        for step_id, step in with_bodies(plan.steps, known)
    ]
    began = execution.reopened_at or execution.accepted_at
    return ExecutionView(
        execution_id=execution.id,
        workflow_id=version.workflow_id,
        version=version.number,
        digest=version.plan_digest,
        status=execution.status,
        epoch=execution.epoch,
        environment=execution.environment,
        trigger=execution.trigger,
        input=execution.input,
        output=execution.output,
        output_ref=_reference(execution.output_ref, f"{url}/output"),
        error=execution.error,
        accepted_at=execution.accepted_at,
        reopened_at=execution.reopened_at,
        started_at=execution.started_at,
        completed_at=execution.completed_at,
        cancel_requested_at=execution.cancel_requested_at,
        parent_execution_id=execution.parent_execution_id,
        depth=execution.depth,
        error_of=execution.error_of,
        error_workflow=execution.error_handling,
        queued_ms=_milliseconds(began, execution.started_at),
        duration_ms=_milliseconds(began, execution.completed_at),
        usage=_total([usage for step in steps for usage in step.usage]),
        steps=steps,
        url=url,
        airflow_url=f"{airflow_url}/dags/{version.dag_id}/runs/{quote(run_id, safe='')}",
    )


def with_parts(view: ExecutionView, parts: Collection[Part]) -> ExecutionView:
    """Return a view with these parts of it only; what is left out is null or empty."""
    left_out: dict[str, object] = {}
    if "input" not in parts:
        left_out |= {"input": None, "trigger": None}
    if "output" not in parts:
        left_out |= {"output": None, "output_ref": None}
    if not {"steps", "step_inputs", "step_outputs"} & set(parts):
        left_out["steps"] = []
    elif "step_outputs" not in parts:
        left_out["steps"] = [step.model_copy(update={"output": None, "output_ref": None}) for step in view.steps]
    return view.model_copy(update=left_out)


def with_inputs(view: ExecutionView, inputs: Mapping[str, StepInput]) -> ExecutionView:
    """Return a view whose steps show what they were given."""
    steps = [step.model_copy(update={"input": inputs.get(step.id)}) for step in view.steps]
    return view.model_copy(update={"steps": steps})


def _reference(stored: Mapping[str, Any] | None, url: str) -> OutputReference | None:
    return None if stored is None else OutputReference(sha256=stored["sha256"], size=stored["size"], url=url)


def _show_step(step_id: str, step_type: str, record: ExecutionStep | None, running: bool, url: str) -> StepView:
    if record is None:
        return StepView(id=step_id, type=step_type, status="running" if running else "pending")
    usage = [Usage.model_validate(call) for call in record.usage]
    return StepView(
        id=step_id,
        type=step_type,
        status=record.status,
        output=record.output,
        output_ref=_reference(record.output_ref, f"{url}/steps/{quote(step_id, safe='')}/output"),
        error=record.error,
        attempts=record.attempts,
        started_at=record.started_at,
        ended_at=record.ended_at,
        duration_ms=record.duration_ms,
        usage=usage,
        cost_usd=_cost(usage),
        timing=record.timing,
    )


def show_items(
    step_id: str, step: Step, items: Mapping[str, set[int]], records: Mapping[str, ExecutionStep]
) -> list[ItemView] | None:
    """Return how the items of a map stand; None for a step without a body.

    :param step_id: The step's id in the journal.
    :param items: Which items of which map are known.
    """
    if not step.body:
        return None
    is_over = step_id in records and records[step_id].status in DECIDED
    return [
        ItemView(index=index, status=_item_status(step.body, body_prefix(step_id, index), records, is_over))
        for index in sorted(items.get(step_id, ()))
    ]


def _item_status(
    body: Sequence[Step], prefix: str, records: Mapping[str, ExecutionStep], is_over: bool
) -> Literal["running", "success", "failed", "cancelled"]:
    found = {step.id: records[prefix + step.id].status if prefix + step.id in records else "pending" for step in body}
    if any(found[step.id] == "failed" and step.on_error == "fail" for step in body):
        return "failed"
    if not is_over and not DECIDED.issuperset(found.values()):
        return "running"
    return "success" if {"success", "failed", "skipped"}.issuperset(found.values()) else "cancelled"


def _total(calls: list[Usage]) -> UsageTotal:
    return UsageTotal(
        model_calls=len(calls),
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cost_usd=_cost(calls),
    )


def _cost(calls: list[Usage]) -> float | None:
    costs = [call.cost_usd for call in calls]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _milliseconds(begin: datetime, end: datetime | None) -> float | None:
    return round((end - begin).total_seconds() * 1000, 3) if end else None
