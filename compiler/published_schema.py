"""The JSON Schema of the workflow format, made from the models: for editors and for other people's tools.

``python -m compiler.published_schema > docs/workflow.schema.json`` writes it; a test compares.
The schema knows shapes only. What holds between the parts (edges, expressions, schemas) only the compiler knows.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from compiler.fields import IDENTIFIER
from compiler.model import TaskFields, TriggerFields, WorkflowFields
from compiler.schemas import DIALECT
from compiler.steps import STEP_TYPES
from compiler.triggers import TRIGGER_TYPES

_REFERENCE = "#/$defs/{model}"


def published_schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow file."""
    models: list[type[BaseModel]] = [WorkflowFields, TaskFields, TriggerFields]
    models += [*STEP_TYPES.values(), *TRIGGER_TYPES.values()]
    _, document = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    definitions: dict[str, Any] = document["$defs"]
    _by_type(definitions["TaskFields"], dict(STEP_TYPES))
    _by_type(definitions["TriggerFields"], dict(TRIGGER_TYPES))
    _identifier(definitions["TaskFields"])
    _tasks(definitions["MapConfig"])
    workflow = definitions.pop("WorkflowFields")
    _identifier(workflow)
    _tasks(workflow)
    workflow["properties"]["trigger"] = {"$ref": "#/$defs/TriggerFields"}
    workflow["properties"]["triggers"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/TriggerFields"}}
    workflow["oneOf"] = [{"required": ["trigger"]}, {"required": ["triggers"]}]
    head = {"$schema": DIALECT, "title": "Agent Factory workflow, format 1.0"}
    return {**head, **{key: value for key, value in workflow.items() if key != "title"}, "$defs": definitions}


def _by_type(fields: dict[str, Any], models: dict[str, type[BaseModel]]) -> None:
    """Say which types there are, and which config belongs to which."""
    fields["properties"]["type"] = {"enum": list(models)}
    fields["allOf"] = [
        {
            "if": {"properties": {"type": {"const": name}}},
            "then": {"properties": {"config": {"$ref": _REFERENCE.format(model=model.__name__)}}},
        }
        for name, model in models.items()
    ]


def _identifier(fields: dict[str, Any]) -> None:
    fields["properties"]["id"]["pattern"] = f"^{IDENTIFIER.pattern}$"


def _tasks(fields: dict[str, Any]) -> None:
    fields["properties"]["tasks"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/TaskFields"}}


def main() -> None:
    """Print the schema."""
    sys.stdout.write(json.dumps(published_schema(), indent=2) + "\n")


if __name__ == "__main__":
    main()
