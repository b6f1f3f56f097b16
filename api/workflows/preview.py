"""Looks at a workflow before it is published: what is wrong with it, what it becomes, what it may cost."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from pydantic import BaseModel

from compiler import compile_workflow
from compiler.explain import as_text, explain_workflow
from compiler.planning import Isolation
from operators.ai.estimate import estimate


class Validation(BaseModel):
    """What the compiler says. ``valid``: it could be published as it is."""

    valid: bool
    diagnostics: list[dict[str, Any]]


class CallView(BaseModel):
    """A model call: about how many tokens the prompt's fixed text has, the longest answer, and their list price."""

    step_id: str
    model: str
    prompt_tokens: int
    max_tokens: int | Literal["unknown"]
    attempts: int
    usd: float | Literal["unknown"]
    reason: str | None


class PathView(BaseModel):
    """What one set of decisions leads to, if nothing fails and nothing is tried twice."""

    decisions: dict[str, str | None]
    model_calls: int | Literal["unknown"]
    usd: float | Literal["unknown"]
    reason: str | None


class EstimateView(BaseModel):
    """Model calls and paths. What expressions put into prompts comes on top; what cannot be known is ``unknown``."""

    calls: list[CallView]
    paths: list[PathView]
    truncated: bool
    prices: str


class DagFile(BaseModel):
    """The file that Airflow would load."""

    name: str
    text: str


class Preview(Validation):
    """What a workflow would become. ``tree`` is what ``agent-factory explain`` prints, ``plan`` the same as data.

    ``plan`` and ``tree`` are null where it has errors that leave nothing to explain; ``digest``, ``dag`` and
    ``estimate`` where it cannot be published.
    """

    digest: str | None = None
    plan: dict[str, Any] | None = None
    tree: str | None = None
    dag: DagFile | None = None
    estimate: EstimateView | None = None


async def validate_source(source: bytes, organization: str, isolation: Isolation) -> Validation:
    """Return the compiler's diagnostics; off the event loop, for a large workflow takes a second."""
    return await asyncio.to_thread(_validate, source, organization, isolation)


async def preview_source(source: bytes, organization: str, isolation: Isolation) -> Preview:
    """Return what a workflow would become; off the event loop."""
    return await asyncio.to_thread(_preview, source, organization, isolation)


def _validate(source: bytes, organization: str, isolation: Isolation) -> Validation:
    compilation = compile_workflow(source, organization=organization, isolation=isolation)
    return Validation(
        valid=compilation.plan is not None,
        diagnostics=[diagnostic.as_json() for diagnostic in compilation.diagnostics],
    )


def _preview(source: bytes, organization: str, isolation: Isolation) -> Preview:
    compilation = compile_workflow(source, organization=organization, isolation=isolation)
    _, explanation = explain_workflow(source)
    preview = Preview(
        valid=compilation.plan is not None,
        diagnostics=[diagnostic.as_json() for diagnostic in compilation.diagnostics],
        plan=explanation and explanation.as_json(),
        tree=explanation and as_text(explanation),
    )
    if compilation.plan is None:
        return preview
    name = f"{compilation.plan.dag_id}.py"
    preview.digest = compilation.digest
    preview.dag = DagFile(name=name, text=compilation.files[name].decode())
    preview.estimate = EstimateView.model_validate(estimate(compilation.plan).as_json())
    return preview
