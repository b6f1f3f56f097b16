"""Makes a workflow from a template's: one with an id, a name and webhook paths of its own. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from api.json_text import Path, replace


def scaffold(source: bytes, workflow_id: str, name: str) -> bytes:
    """Return a template's workflow under another id and name; everything else stays as it is written.

    No two workflows of an organisation may have the same id or webhook path. So each path becomes that of the new id:
    ``my-flow`` of ``my_flow``, where there are several ``my-flow/2`` and so on.

    :param source: A JSON object; it need not be a proper workflow.
    :param workflow_id: A checked identifier.
    """
    return replace(source, {("id",): workflow_id, ("name",): name, **_paths(orjson.loads(source), workflow_id)})


def _paths(document: dict[str, Any], workflow_id: str) -> dict[Path, str]:
    """Return the new paths of the webhooks, by their places. Two that were the same stay the same."""
    slug = workflow_id.replace("_", "-")
    named: dict[str, str] = {}
    places: dict[Path, str] = {}
    for place, trigger in _triggers(document):
        config = trigger.get("config") if isinstance(trigger, dict) and trigger.get("type") == "webhook" else None
        path = config.get("path") if isinstance(config, dict) else None
        if isinstance(path, str):
            number = len(named) + 1
            places[*place, "config", "path"] = named.setdefault(path, slug if number == 1 else f"{slug}/{number}")
    return places


def _triggers(document: dict[str, Any]) -> list[tuple[Path, Any]]:
    listed = document.get("triggers")
    found: list[tuple[Path, Any]] = [(("trigger",), document.get("trigger"))]
    found += [(("triggers", index), each) for index, each in enumerate(listed if isinstance(listed, list) else [])]
    return found
