"""Small hand-made plans for the runtime's tests."""

from __future__ import annotations

from typing import Any

from compiler.plan import Edge, Plan, Retry, Step, Trigger, Unit

FIXED = {"set": {}}


def step(step_id: str, *, type: str = "transform", config: dict[str, Any] | None = None, **fields: Any) -> Step:
    """A step; ``next``, ``goto``, ``then``, ``default``, ``approve`` and ``reject`` name the targets of its edges."""
    edges = [
        Edge(target=target, kind=kind)  # type: ignore[arg-type]
        for kind in ("next", "then", "default", "approve", "reject", "goto")
        for target in fields.pop(kind, "").split()
    ]
    if any(edge.kind == "goto" for edge in edges):
        fields["on_error"] = "goto"
    return Step(id=step_id, type=type, config=FIXED if config is None else config, edges=tuple(edges), **fields)


def model_step(step_id: str, prompt: str = "hello", *, model: str = "test", **fields: Any) -> Step:
    """An ``ai_inference``; ``attempts`` sets its retry."""
    attempts = fields.pop("attempts", 1)
    return step(
        step_id,
        type="ai_inference",
        config={"model": model, "prompt": prompt},
        retry=fields.pop("retry", Retry(attempts=attempts)),
        **fields,
    )


def plan_of(*steps: Step, units: tuple[Unit, ...] | None = None, **fields: Any) -> Plan:
    """A plan; without ``units`` all steps are one unit ``all``."""
    return Plan(
        organization="test",
        workflow_id="flow",
        name="Flow",
        label="1.0",
        triggers=(Trigger(type="manual"),),
        steps=steps,
        units=units or (Unit(id="all", steps=tuple(step.id for step in steps)),),
        **fields,
    )
