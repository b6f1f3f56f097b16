"""Small workflows for the compiler's tests, and short ways to compile them."""

from __future__ import annotations

import json
from typing import Any

from compiler import compile_workflow, validate_workflow
from compiler.diagnostics import Diagnostic
from compiler.plan import Plan

Json = dict[str, Any]


def workflow(*tasks: Any, **extra: Any) -> Json:
    """Return a workflow with a manual trigger."""
    body = {"id": "flow", "name": "Flow", "version": "1.0", "trigger": {"type": "manual"}, "tasks": list(tasks)}
    return {**body, **extra}


def model(task_id: str, prompt: str = "Hello", **extra: Any) -> Json:
    """Return an ``ai_inference``."""
    config = {"model": "gpt-4", "prompt": prompt, **extra.pop("config", {})}
    return {"id": task_id, "type": "ai_inference", "config": config, **extra}


def transform(task_id: str, values: Json | None = None, **extra: Any) -> Json:
    """Return a ``transform``."""
    return {"id": task_id, "type": "transform", "config": {"set": {"x": 1} if values is None else values}, **extra}


def choice(task_id: str, *branches: tuple[str, str], default: str | None = None, **extra: Any) -> Json:
    """Return a ``conditional`` of pairs of condition and target."""
    config: Json = {"conditions": [{"if": condition, "then": target} for condition, target in branches]}
    if default is not None:
        config["default"] = default
    return {"id": task_id, "type": "conditional", "config": config, **extra}


def problems(source: Any) -> list[Diagnostic]:
    """Return what compiling reports, without checking what can be told from ``validate``."""
    return compile_workflow(as_bytes(source), organization="acme").diagnostics


def codes(source: Any) -> list[tuple[str, str]]:
    """Return codes and paths of what compiling reports."""
    return [(diagnostic.code, diagnostic.path) for diagnostic in problems(source)]


def warnings_of(source: Any) -> list[tuple[str, str]]:
    """Return codes and paths of what ``validate`` reports."""
    return [(diagnostic.code, diagnostic.path) for diagnostic in validate_workflow(as_bytes(source))]


def plan_of(source: Any, **options: Any) -> Plan:
    """Return the plan of a workflow that must compile."""
    result = compile_workflow(as_bytes(source), organization="acme", **options)
    assert result.plan is not None, result.diagnostics
    return result.plan


def as_bytes(source: Any) -> bytes:
    """Return a workflow's JSON."""
    return source if isinstance(source, bytes) else json.dumps(source).encode()
