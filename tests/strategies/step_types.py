"""The step types as the strategies know them: one entry a type, and nowhere else.

An entry says how to draw the type's config, what its call may answer, and which edge an output chooses. A type that
becomes available needs an entry here, and every test over random workflows has it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from compiler.expressions import render, render_condition, text_of
from compiler.steps import STEP_TYPES
from tests.strategies.values import Site

Json = dict[str, Any]
Scope = dict[str, Any]


@dataclass(frozen=True)
class Drawn:
    """A drawn task: its config, task-level fields, and what is known of its output.

    :param outputs: Outputs its call may have, each of the real shape.
    :param keys: Keys that readers may try on its output.
    """

    config: Json
    outputs: list[Any]
    keys: tuple[str, ...] = ()
    fields: Json = field(default_factory=dict)


Draw = Callable[[st.DrawFn, Site, list[str]], Drawn]


@dataclass(frozen=True)
class Kind:
    """What the strategies know of a step type.

    :param draw: Draws a task that may lead to the given targets by its config.
    :param chooses: Whether its config has edges; its targets are then not in ``next``.
    :param computes: Gives the output from the rendered config, where no stub is needed for that.
    :param rendered: Which part of a config is evaluated; raises the errors of its expressions.
    :param chosen: The target an output chooses.
    """

    draw: Draw
    chooses: bool = False
    computes: Callable[[Any], Any] | None = None
    rendered: Callable[[Json, Scope], Any] = render
    chosen: Callable[[Json, Any], str | None] = lambda config, output: None


def _ai_inference(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config: Json = {"model": "gpt-4"}
    if draw(st.booleans()):
        config["prompt"] = draw(site.text())
    else:
        config["messages"] = [{"role": "user", "content": draw(site.text())}]
    if draw(st.booleans()):
        config["max_tokens"] = draw(st.sampled_from([1, 100, "{{ input.n + 1 }}"]))
    outputs: list[Any] = [{"text": "hello"}, {"text": ""}, {"intent": "billing", "score": 0.5}, {"intent": None}]
    return Drawn(config, outputs, ("text", "intent"))


def _conditional(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    *first, last = targets
    config: Json = {
        "conditions": [{"if": draw(site.condition()), "then": target} for target in (first or [last])],
    }
    if first and draw(st.booleans()):
        config["default"] = last
    elif first:
        config["conditions"].append({"if": draw(site.condition()), "then": last})
    return Drawn(config, [{"branch": target} for target in (*targets, None)], ("branch",))


def _choose(config: Json, scope: Scope) -> Any:
    """Evaluate conditions up to the first true one, as a conditional does."""
    for condition in config["conditions"]:
        if render_condition(condition["if"], scope):
            return {"branch": condition["then"]}
    return {"branch": config.get("default")}


def _transform(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    names = draw(st.lists(st.sampled_from(["x", "y", "long name"]), unique=True, max_size=3))
    config: Json = {"set": {name: draw(site.value()) for name in names}}
    return Drawn(config, [dict.fromkeys(names, 1)], tuple(name for name in names if name != "long name"))


def _respond(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config: Json = {"body": draw(site.value())}
    if draw(st.booleans()):
        config["status"] = draw(st.sampled_from([200, 404, "{{ 200 + input.n }}", "{{ 199 + input.n }}"]))
    if draw(st.booleans()):
        config["headers"] = {"x-note": draw(st.sampled_from(["fixed", "n {{ input.n }}"]))}
    return Drawn(config, [{"status": 200, "headers": {}, "body": 1}], ("status", "body"))


def _answer(rendered: Any) -> Any:
    status = rendered.get("status", 200)
    if not 200 <= status <= 599:
        raise Refused("invalid_config")
    headers = {name: text_of(value) for name, value in rendered.get("headers", {}).items()}
    return {"status": status, "headers": headers, "body": rendered["body"]}


class Refused(Exception):
    """A rendered config cannot be used: the step fails with a code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _http_request(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config: Json = {"url": "https://api.example.com/{{ input.n }}", "method": draw(st.sampled_from(["GET", "POST"]))}
    if config["method"] == "POST":
        config["json"] = draw(site.value())
    outputs: list[Any] = [{"status": 200, "headers": {}, "json": {"id": 7}}, {"status": 204, "headers": {}, "text": ""}]
    return Drawn(config, outputs, ("status", "headers"))


def _emit_event(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    return Drawn({"type": "order.made", "data": draw(site.value())}, [{"event_id": "e1"}], ("event_id",))


def _code(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config = {"language": "python", "input": {"v": draw(site.value())}}
    return Drawn(config, [{"r": 1}, [1, 2], "text", None], (), {"code": "def main(input):\n    return input\n"})


def _approval(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config: Json = {"title": draw(site.text())}
    decisions = draw(st.permutations(["approve", "reject"]))
    if targets:
        config["routes"] = dict(zip(decisions, targets, strict=False))
    outputs = [
        {"decision": decision, "comment": None, "by": "ada", "at": "2026-01-01T00:00:00Z"}
        # Without a route for it a rejection fails the step; that is a matter of the type's own tests.
        for decision in config.get("routes", {"approve": None})
    ]
    return Drawn(config, outputs, ("decision", "comment"))


def _wait(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    return Drawn({"seconds": draw(st.sampled_from([0, 3600]))}, [{"waited_seconds": 0}], ("waited_seconds",))


def _workflow(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    config = {"workflow": "other", "input": {"v": draw(site.value())}}
    return Drawn(config, [{"done": True}, {}, None], ("done",))


def _map(draw: st.DrawFn, site: Site, targets: list[str]) -> Drawn:
    inner = Site(site.readable, site.unsafe, ("item", "item | string"))
    # Body tasks need ids that are unique in the whole workflow; a number nobody else draws makes them so.
    body = {"id": f"m{draw(st.uuids()).hex[:12]}", "type": "transform", "config": {"set": {"x": draw(inner.value())}}}
    config: Json = {"over": "{{ input.tags | default(['a', 'b']) }}", "tasks": [body]}
    if draw(st.booleans()):
        config["on_item_error"] = "continue"
    return Drawn(config, [[], [1, None], [{"x": 1}]])


def _rendered_but(*names: str) -> Callable[[Json, Scope], Any]:
    return lambda config, scope: render({key: config[key] for key in config if key not in names}, scope)


KINDS: dict[str, Kind] = {
    "ai_inference": Kind(_ai_inference),
    "conditional": Kind(
        _conditional,
        chooses=True,
        rendered=_choose,
        computes=lambda v: v,
        chosen=lambda config, output: output["branch"],
    ),
    "transform": Kind(_transform, rendered=lambda config, scope: render(config["set"], scope), computes=lambda v: v),
    "respond": Kind(_respond, rendered=lambda config, scope: _answer(render(config, scope)), computes=lambda v: v),
    "http_request": Kind(_http_request),
    "emit_event": Kind(_emit_event),
    "code": Kind(_code),
    "approval": Kind(
        _approval,
        chooses=True,
        rendered=_rendered_but("routes"),
        chosen=lambda config, output: config.get("routes", {}).get(output["decision"]),
    ),
    "wait": Kind(_wait),
    "workflow": Kind(_workflow, rendered=_rendered_but("workflow", "version")),
    "map": Kind(_map, rendered=_rendered_but("tasks", "as", "result")),
}
"""Step type -> how to draw it."""

NOT_DRAWN = frozenset({"agent", "integration", "retrieve", "container"})
"""Types that need a catalogue or a cluster to compile, so that random workflows leave them out."""


def available_kinds() -> list[str]:
    """Return the types that can be drawn and run in this version."""
    return [name for name in KINDS if STEP_TYPES[name].available]
