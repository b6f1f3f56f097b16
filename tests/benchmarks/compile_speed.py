"""Prints how long the compiler takes: ``python tests/benchmarks/compile_speed.py``.

Figures, no test: a time that is asserted fails on a busy machine.
"""

from __future__ import annotations

import json
import time
from typing import Any

from compiler import compile_workflow


def workflow(number: int, tasks: int) -> bytes:
    """Return a workflow of chains of five: classify, choose, two handlers, join."""
    made: list[dict[str, Any]] = []
    for start in range(0, tasks, 5):
        a, b, c, d, e = (f"t{number}_{start + offset}" for offset in range(5))
        following = [f"t{number}_{start + 5}"] if start + 5 < tasks else []
        made += [
            _model(a, "Classify {{ input.message }}", [b]),
            _choice(b, f"{{{{ {a}.output.intent == 'billing' and {a}.output.score > 0.5 }}}}", c, d),
            _model(c, f"Answer {{{{ input.message }}}} about {{{{ {a}.output.intent }}}}", [e]),
            _model(d, "{% if input.name %}Dear {{ input.name }}{% endif %}", [e]),
            _set(e, {"text": f"{{{{ {c}.output.text | default({d}.output.text) }}}}"}, following),
        ]
    trigger = {"type": "webhook", "config": {"path": f"bench/{number}"}}
    body = {"id": f"bench_{number}", "name": "Bench", "version": "1", "trigger": trigger, "tasks": made[:tasks]}
    return json.dumps(body).encode()


def _model(task_id: str, prompt: str, following: list[str]) -> dict[str, Any]:
    return {"id": task_id, "type": "ai_inference", "config": {"model": "gpt-4", "prompt": prompt}, "next": following}


def _choice(task_id: str, condition: str, then: str, default: str) -> dict[str, Any]:
    config = {"conditions": [{"if": condition, "then": then}], "default": default}
    return {"id": task_id, "type": "conditional", "config": config}


def _set(task_id: str, values: dict[str, str], following: list[str]) -> dict[str, Any]:
    return {"id": task_id, "type": "transform", "config": {"set": values}, "next": following}


def measure(count: int, tasks: int, fusion: Any) -> float:
    """Return the seconds that compiling some different workflows took."""
    sources = [workflow(number, tasks) for number in range(count)]
    start = time.perf_counter()
    for source in sources:
        result = compile_workflow(source, organization="bench", fusion=fusion)
        assert result.plan is not None, result.diagnostics
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    measure(1, 5, None)
    for count, tasks, aim in ((1, 1_000, 1.0), (1_000, 10, 10.0)):
        for fusion in ("auto", "off"):
            seconds = measure(count, tasks, fusion)
            print(f"{count:>5} x {tasks:>5} tasks, fusion {fusion:<4} {seconds:7.3f} s  (aim: under {aim:g} s)")


if __name__ == "__main__":
    main()
