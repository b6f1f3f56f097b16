"""What changed between two workflows, by what it means: tasks by their ids, edges, triggers, fields. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from compiler.diagnostics import pointer
from compiler.steps import STEP_TYPES

MAX_CHANGES = 500
MAX_VALUE_BYTES = 2_000

Parts = tuple[str | int, ...]
Document = dict[str, Any]
_MISSING = object()


@dataclass
class _Collector:
    """Counts what is told, so that two large workflows that have nothing in common make no huge answer."""

    left: int = MAX_CHANGES
    truncated: bool = field(default=False)

    def take(self) -> bool:
        """Tell whether one more may be told."""
        self.left -= 1
        self.truncated = self.truncated or self.left < 0
        return self.left >= 0


def diff_workflows(before: Document, after: Document) -> dict[str, Any]:
    """Return what changed: ``{identical, tasks, edges, triggers, workflow, truncated}``.

    :param before: Any JSON objects; what is no proper workflow is compared as far as it goes.
    """
    collector = _Collector()
    tasks = _by_key(_tasks(before), _tasks(after), collector)
    edges = _edges(before, after, collector)
    triggers = _by_key(_triggers(before), _triggers(after), collector)
    workflow = list(_changes(_rest(before), _rest(after), (), collector))
    nothing = not (workflow or any(any(part.values()) for part in (tasks, edges, triggers)))
    return {
        "identical": nothing and not collector.truncated,
        "tasks": tasks,
        "edges": edges,
        "triggers": triggers,
        "workflow": workflow,
        "truncated": collector.truncated,
    }


def _by_key(before: dict[str, Any], after: dict[str, Any], collector: _Collector) -> dict[str, list[Any]]:
    added = [_named(key, after[key]) for key in after if key not in before and collector.take()]
    removed = [_named(key, before[key]) for key in before if key not in after and collector.take()]
    changed = []
    for key in before:
        if key in after:
            changes = list(_changes(before[key], after[key], (), collector))
            if changes:
                changed.append({"id": key, "changes": changes})
    return {"added": added, "removed": removed, "changed": changed}


def _named(key: str, value: Any) -> dict[str, Any]:
    kind = value.get("type") if isinstance(value, dict) else None
    return {"id": key, "type": kind if isinstance(kind, str) else None}


def _tasks(document: Document) -> dict[str, Any]:
    """Return the tasks by id, those in the bodies of maps as ``map/task``; the body is left out of its map."""
    found: dict[str, Any] = {}
    todo = [("", document.get("tasks"))]
    while todo:
        prefix, tasks = todo.pop(0)
        for index, task in enumerate(tasks if isinstance(tasks, list) else []):
            key = prefix + _key(task, index)
            if key in found:
                key = f"{prefix}#{index}"
            body = _body(task)
            if body is not None:
                config = {name: value for name, value in task["config"].items() if name != "tasks"}
                task = task | {"config": config}
                todo.append((f"{key}/", body))
            found[key] = task
    return found


def _key(value: Any, index: int) -> str:
    identifier = value.get("id") if isinstance(value, dict) else None
    return identifier if isinstance(identifier, str) else f"#{index}"


def _body(task: Any) -> list[Any] | None:
    config = task.get("config") if isinstance(task, dict) else None
    if isinstance(config, dict) and task.get("type") == "map" and isinstance(config.get("tasks"), list):
        body: list[Any] = config["tasks"]
        return body
    return None


def _triggers(document: Document) -> dict[str, Any]:
    """Return the triggers by what they are, for they have no ids."""
    listed = document.get("triggers")
    triggers = listed if isinstance(listed, list) else [document["trigger"]] if "trigger" in document else []
    found: dict[str, Any] = {}
    for index, trigger in enumerate(triggers):
        key = _trigger_key(trigger)
        found[key if key not in found else f"{key}#{index}"] = trigger
    return found


def _trigger_key(trigger: Any) -> str:
    if not isinstance(trigger, dict):
        return "#"
    config = trigger["config"] if isinstance(trigger.get("config"), dict) else {}
    what = {"webhook": config.get("path"), "schedule": config.get("cron"), "event": config.get("type")}
    kind = trigger.get("type")
    name = what.get(kind) if isinstance(kind, str) else None
    return f"{str(kind)[:100]}:{name[:200]}" if isinstance(name, str) else str(kind)[:100]


def _rest(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("tasks", "trigger", "triggers")}


def _edges(before: Document, after: Document, collector: _Collector) -> dict[str, list[Any]]:
    old, new = (dict.fromkeys(_edges_of(document)) for document in (before, after))
    names = ("from", "to", "kind")
    return {
        "added": [dict(zip(names, edge, strict=True)) for edge in new if edge not in old and collector.take()],
        "removed": [dict(zip(names, edge, strict=True)) for edge in old if edge not in new and collector.take()],
    }


def _edges_of(document: Document) -> Iterator[tuple[str, str, str]]:
    for key, task in _tasks(document).items():
        if not isinstance(task, dict):
            continue
        prefix = key[: key.rfind("/") + 1]
        following = task.get("next")
        for target in following if isinstance(following, list) else ():
            if isinstance(target, str):
                yield key, prefix + target, "next"
        on_error = task.get("on_error")
        if isinstance(on_error, dict) and isinstance(on_error.get("goto"), str):
            yield key, prefix + on_error["goto"], "goto"
        kind = STEP_TYPES.get(task["type"]) if isinstance(task.get("type"), str) else None
        if kind is not None and isinstance(task.get("config"), dict):
            for choice in kind.choices(task["config"]):
                yield key, prefix + choice.target, choice.kind


def _changes(before: Any, after: Any, parts: Parts, collector: _Collector) -> Iterator[dict[str, Any]]:
    """Yield changed fields with their JSON pointers, from the outside in."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in dict.fromkeys((*before, *after)):
            yield from _changes(before.get(name, _MISSING), after.get(name, _MISSING), (*parts, name), collector)
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            old = before[index] if index < len(before) else _MISSING
            new = after[index] if index < len(after) else _MISSING
            yield from _changes(old, new, (*parts, index), collector)
    elif not _equal(before, after) and collector.take():
        change: dict[str, Any] = {"path": pointer(parts)}
        change["op"] = "add" if before is _MISSING else "remove" if after is _MISSING else "replace"
        if before is not _MISSING:
            change["before"] = _shown(before)
        if after is not _MISSING:
            change["after"] = _shown(after)
        yield change


def _equal(before: Any, after: Any) -> bool:
    # In Python True equals 1; in JSON it does not.
    return isinstance(before, bool) == isinstance(after, bool) and bool(before == after)


def _shown(value: Any) -> Any:
    size = len(orjson.dumps(value))
    return value if size <= MAX_VALUE_BYTES else {"too_large_to_show": True, "bytes": size}
