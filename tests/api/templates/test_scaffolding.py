"""A template's workflow under an id, a name and paths of its own; and the public templates."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.templates.library import TEMPLATES
from api.templates.scaffolding import scaffold

pytestmark = pytest.mark.unit


def made(document: dict[str, Any], workflow_id: str = "my_flow", name: str = "My flow") -> Any:
    return orjson.loads(scaffold(orjson.dumps(document), workflow_id, name))


def hook(path: Any, **config: Any) -> dict[str, Any]:
    return {"type": "webhook", "config": {"path": path, **config}}


def test_id_and_name() -> None:
    assert made({"id": "old", "name": "Old", "x": 1}) == {"id": "my_flow", "name": "My flow", "x": 1}
    assert made({}) == {"id": "my_flow", "name": "My flow"}
    assert made({"id": 7, "name": None}) == {"id": "my_flow", "name": "My flow"}


def test_everything_else_stays_as_it_is_written() -> None:
    rest = b'\n  "n": 1.50, "n": 1.00000000000000000001,\n  "tasks": [{"id": "old"}]\n}'
    written = scaffold(b'{\n  "id" : "old",' + rest, "new", "New")
    assert written == b'{"name": "New", \n  "id" : "new",' + rest


def test_webhook_paths() -> None:
    assert made({"trigger": hook("/webhook/old", method="POST")})["trigger"] == hook("my-flow", method="POST")
    triggers = [{"type": "manual"}, hook("a"), hook("b"), hook("a", method="PUT"), hook("c")]
    paths = [each["config"]["path"] for each in made({"triggers": triggers})["triggers"][1:]]
    assert paths == ["my-flow", "my-flow/2", "my-flow", "my-flow/3"]


@pytest.mark.parametrize(
    "document",
    [
        {"trigger": None},
        {"trigger": []},
        {"trigger": {"type": "webhook"}},
        {"trigger": hook(7)},
        {"trigger": {"type": "event", "config": {"path": "kept"}}},
        {"triggers": {"type": "webhook"}},
        {"triggers": [None, 1, "webhook", hook({})]},
    ],
)
def test_what_is_no_webhook_stays(document: dict[str, Any]) -> None:
    assert made(document) == {"id": "my_flow", "name": "My flow"} | document


def test_a_name_of_any_characters() -> None:
    name = 'Q"\\\u2028\n\U0001f600'
    assert made({"id": "a"}, name=name)["name"] == name


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_public_templates(template: Any) -> None:
    assert orjson.loads(template.source)["id"] == template.id
    assert template.name
    assert template.description
    assert template.fits(search=template.name.upper(), category=template.category, tag=template.tags[0])
    assert not template.fits(search=None, category="another", tag=None)
    assert not template.fits(search=None, category=None, tag="another")
    assert not template.fits(search="nothing has this", category=None, tag=None)
