"""Workflows whose prompts hold the results they follow from: a result of a stale writer would show in the next one.

The prompt of each model step is ``<tag>|<step>|<results before it, joined with commas>``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.chaos.models import MODEL

ITEMS = ["x", "y", "z"]


def ask(step: str, *before: str, following: tuple[str, ...] = (), tag: str = "{{ input.tag }}") -> dict[str, Any]:
    """Return a model step that follows from the results of others."""
    results = ",".join(f"{{{{ {name}.output.text }}}}" for name in before)
    config = {"model": f"openai:{MODEL}", "prompt": f"{tag}|{step}|{results}"}
    return {"id": step, "type": "ai_inference", "config": config, "next": list(following)}


def workflow(workflow_id: str, *tasks: dict[str, Any], fusion: str = "auto") -> dict[str, Any]:
    """Return a workflow that is started by hand or by another one."""
    return {
        "id": workflow_id, "name": "Chaos", "version": "1", "triggers": [{"type": "manual"}, {"type": "workflow"}],
        "tasks": list(tasks), "settings": {"fusion": fusion},
    }  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A workflow, and what each of its model steps follows from.

    :param follows: Step as it is journaled -> the steps whose texts stand in its prompt.
    :param names: Step as it is journaled -> its name in the prompt, where that is another.
    """

    document: dict[str, Any]
    follows: dict[str, tuple[str, ...]]
    names: dict[str, str] = field(default_factory=dict)
    child: str | None = None

    @property
    def id(self) -> str:
        """The workflow's id."""
        return str(self.document["id"])


CHAIN = Case(
    workflow(
        "chaos_chain", ask("one", following=("two",)), ask("two", "one", following=("three",)), ask("three", "two")
    ),
    {"one": (), "two": ("one",), "three": ("two",)},
)
FAN = Case(
    workflow(
        "chaos_fan",
        ask("one", following=("a", "b", "c")),
        *(ask(name, "one", following=("last",)) for name in "abc"),
        ask("last", "a", "b", "c"),
        fusion="off",
    ),
    {"one": (), "a": ("one",), "b": ("one",), "c": ("one",), "last": ("a", "b", "c")},
)
CODE = Case(
    workflow(
        "chaos_code",
        ask("one", following=("same",)),
        {
            "id": "same", "type": "code", "next": ["last"],
            "code": "def main(input):\n    return {'text': input['text']}",
            "config": {"language": "python", "input": {"text": "{{ one.output.text }}"}},
        },
        ask("last", "same"),
    ),
    {"one": (), "last": ("same",)},
)  # fmt: skip
WAIT = Case(
    workflow(
        "chaos_wait",
        ask("one", following=("pause",)),
        {"id": "pause", "type": "wait", "config": {"seconds": 4}, "next": ["last"]},
        ask("last", "one"),
    ),
    {"one": (), "last": ("one",)},
)
MAP = Case(
    workflow(
        "chaos_map",
        ask("one", following=("each",)),
        {
            "id": "each", "type": "map", "next": ["last"],
            "config": {
                "over": "{{ input.items }}", "result": "{{ say.output.text }}",
                "tasks": [
                    {
                        "id": "say", "type": "ai_inference",
                        "config": {
                            "model": f"openai:{MODEL}", "prompt": "{{ input.tag }}|{{ item }}|{{ one.output.text }}"
                        },
                    }
                ],
            },
        },
        ask("last", "one"),
    ),
    {"one": (), "last": ("one",), **{f"each[{index}].say": ("one",) for index in range(len(ITEMS))}},
    {f"each[{index}].say": item for index, item in enumerate(ITEMS)},
)  # fmt: skip
CALL = Case(
    workflow(
        "chaos_call",
        ask("one", following=("call",)),
        {
            "id": "call", "type": "workflow", "next": ["last"],
            "config": {"workflow": CHAIN.id, "input": {"tag": "{{ input.tag }}/child", "items": []}},
        },
        ask("last", "one"),
    ),
    {"one": (), "last": ("one",)},
    child="call",
)  # fmt: skip
CASES = (CHAIN, FAN, CODE, WAIT, MAP, CALL)
"""The one that is called comes before the one that calls it."""
