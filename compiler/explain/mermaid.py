"""An explanation as a Mermaid flowchart, to be put into a page or an issue."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.explain.explanation import ExplainedStep, ExplainedUnit, Explanation, Way
from compiler.problems import one_line

LONGEST = 60
"""Of a label's text, in characters."""

_PLAIN = frozenset(" _-.,:/")


def as_mermaid(explanation: Explanation) -> str:
    """Return the flowchart, with a newline at its end.

    Nothing of the workflow stands in it but as a quoted label whose signs are written as entity codes: no text can
    end its label, add a node, or become HTML.
    """
    names = {step.id: f"s{number}" for number, step in enumerate(explanation.steps)}
    lines = ["flowchart TD"]
    for number, trigger in enumerate(explanation.triggers):
        lines.append(f'    t{number}(["{label(trigger.type)}"])')
    for number, unit in enumerate(explanation.units):
        lines += [f"    {line}" for line in _unit(unit, f"u{number}", names)]
    first = [step.id for step in explanation.steps if not step.after]
    for number in range(len(explanation.triggers)):
        lines += [f"    t{number} --> {names[step_id]}" for step_id in first]
    for step in explanation.steps:
        lines += [f"    {names[step.id]} {_arrow(way)} {names[way.target]}" for way in step.ways]
    return "\n".join(lines) + "\n"


def _unit(unit: ExplainedUnit, name: str, names: dict[str, str]) -> Iterator[str]:
    """Draw an Airflow task: a box around its steps, or the step itself where it has its own."""
    nodes = [f"{names[step.id]}{_shape(step)}" for step in unit.steps]
    if unit.kind != "segment":
        yield from nodes
        return
    yield f'subgraph {name}["Airflow task {label(unit.id)}"]'
    yield from (f"    {node}" for node in nodes)
    yield "end"


def _shape(step: ExplainedStep) -> str:
    text = f'"{label(step.id)}<br/>{label(_about(step))}"'
    if step.type == "conditional":
        return "{{" + text + "}}"
    return f"[[{text}]]" if step.body else f"[{text}]"


def _about(step: ExplainedStep) -> str:
    said = [step.type]
    if step.join == "any" and len(step.after) > 1:
        said.append("joins any")
    if step.retry.attempts > 1:
        said.append(f"{step.retry.attempts} attempts")
    if step.timeout_seconds is not None:
        said.append(f"{step.timeout_seconds:g} s each")
    if step.on_error == "continue":
        said.append("goes on after an error")
    if not step.available:
        said.append("does not run yet")
    return ", ".join(said)


def _arrow(way: Way) -> str:
    if way.kind == "goto":
        return '-. "goto on error" .->'
    said = "then: " + " or ".join(way.conditions) if way.kind == "then" else way.kind
    return f'-- "{label(said)}" -->'


def label(text: str) -> str:
    """Return a text as it may stand in a quoted label: letters, digits and a few signs as they are."""
    line = one_line(text)
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    return "".join(sign if sign.isalnum() or sign in _PLAIN else f"#{ord(sign)};" for sign in line)
