"""Executions as lines of text, for people at a terminal."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson

from agent_factory_client.schemas import (
    Difference,
    ErrorHandling,
    ExecutionComparison,
    ExecutionSummary,
    ExecutionView,
    Side,
    StepError,
    StepFacts,
    StepView,
    ValueComparison,
)
from compiler.problems import one_line


def describe_execution(execution: ExecutionView) -> list[str]:
    """Return an execution as lines of text: its status, a line a step, where to see it in Airflow."""
    epoch = f", epoch {execution['epoch']}" if execution["epoch"] else ""
    lines = [
        f"{execution['workflow_id']} version {execution['version']}, execution {execution['execution_id']}{epoch}: "
        f"{execution['status']}{_time(execution['duration_ms'])}"
    ]
    if execution["error"]:
        lines.append(f"  {_error(execution['error'])}")
    width = max((len(step["id"]) for step in execution["steps"]), default=0)
    for step in execution["steps"]:
        rest = f"  {_error(step['error'])}" if step["error"] else _approval(step)
        lines.append(
            f"  {step['id']:<{width}}  {step['status']}{_time(step['duration_ms'])}{_tokens(step)}{_items(step)}{rest}"
        )
    if execution["error_workflow"]:
        lines.append(f"  error workflow {_handling(execution['error_workflow'])}")
    lines.append(f"  Airflow: {execution['airflow_url']}")
    return lines


def _approval(step: StepView) -> str:
    """Name the decision that a step waits for."""
    waits = step["approval_id"] and step["status"] in ("pending", "running")
    return f"  waits for approval {step['approval_id']}" if waits else ""


def _items(step: StepView) -> str:
    """Count the items of a map by what became of them."""
    counts = Counter(item["status"] for item in step["items"] or ())
    return "  items: " + ", ".join(f"{count} {status}" for status, count in counts.items()) if counts else ""


def _handling(handling: ErrorHandling) -> str:
    if handling["problem"] is None:
        return f"{handling['workflow_id']}: execution {handling['execution_id']}"
    return f"{handling['workflow_id']} was not started: {_error(handling['problem'])}"


def _error(error: StepError) -> str:
    return f"{error['code']}: {one_line(error['message'])}"


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"  {milliseconds:.0f} ms"


def _tokens(step: StepView) -> str:
    if not step["usage"]:
        return ""
    tokens = sum(call["input_tokens"] + call["output_tokens"] for call in step["usage"])
    cost = "price unknown" if step["cost_usd"] is None else f"${step['cost_usd']:.6f}"
    return f"  {tokens} tokens, {cost}"


def describe_summary(execution: ExecutionSummary) -> str:
    """Return an execution of a list as a line of text."""
    took = "" if execution["duration_ms"] is None else f"  {execution['duration_ms']:.0f} ms"
    error = f"  {execution['error_code']}" if execution["error_code"] else ""
    name = f"{execution['workflow_id']} version {execution['version']}"
    return f"{execution['execution_id']}  {execution['accepted_at']}  {name}  {execution['status']}{took}{error}"


def describe_event(name: str, data: dict[str, Any]) -> str:
    """Return an event as a line of text."""
    what = f"  {data['step_id']}" if name == "step" else "execution"
    took = data.get("duration_ms")
    error = data.get("error")
    return (
        f"{what}  {data['status']}"
        + ("" if took is None else f"  {took:.0f} ms")
        + (f"  {error['code']}: {one_line(error['message'])}" if error else "")
    )


def describe_comparison(compared: ExecutionComparison) -> list[str]:
    """Return a comparison as lines of text: both sides, then each step with its differences."""
    lines = [_side(name, compared[name]) for name in ("left", "right")]
    for step in compared["steps"]:
        left, right = step["left"], step["right"]
        if left is None or right is None:
            lines.append(f"  {step['id']}: only in the {'left' if left else 'right'} one")
            continue
        status = left["status"] if left["status"] == right["status"] else f"{left['status']} -> {right['status']}"
        took = f"{_milliseconds(left)} -> {_milliseconds(right)}"
        tokens = [side["input_tokens"] + side["output_tokens"] for side in (left, right)]
        spent = f", tokens {tokens[0]} -> {tokens[1]}" if any(tokens) else ""
        output = step["output"]
        lines.append(f"  {step['id']}: {status}, {took}{spent}{_sameness(output) if output else ''}")
        lines += [f"    {_difference(each)}" for each in (output["differences"] if output else ())]
    return lines


def _side(name: str, side: Side) -> str:
    took = _milliseconds(side)
    return f"{name}: {side['workflow_id']} version {side['version']}, {side['execution_id']}: {side['status']}, {took}"


def _milliseconds(side: Side | StepFacts) -> str:
    return "-" if side["duration_ms"] is None else f"{side['duration_ms']:.0f} ms"


def _sameness(output: ValueComparison) -> str:
    if output["same"]:
        return ", same output"
    return "" if output["complete"] else ", not all of the output was compared or is listed"


def _difference(difference: Difference) -> str:
    place = difference["pointer"] or "(the whole output)"
    left = _value(difference["left"], difference["left_bytes"])
    right = _value(difference["right"], difference["right_bytes"])
    if difference["kind"] == "added":
        return f"{place}: only right: {right}"
    return f"{place}: only left: {left}" if difference["kind"] == "removed" else f"{place}: {left} -> {right}"


def _value(value: Any, size: int | None) -> str:
    return orjson.dumps(value).decode() if size is None else f"({size} bytes)"
