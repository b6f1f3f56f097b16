"""What is in an archive, and under which names.

    agents/<workflow id>/agent.json          name and description
    agents/<workflow id>/workflow.json       the draft, to the byte
    agents/<workflow id>/canvas.json         what the designer's screen keeps, where there is something
    agents/<workflow id>/versions/<n>.json   what was published, to the byte
    templates/<digest>/template.json         what people say of a template; the digest is of its name
    templates/<digest>/workflow.json         its workflow, to the byte
    templates/<digest>/canvas.json           as an agent's
    variables.json                           variables, of secret ones their names only

There are no ids of the database in it: whose a thing is says the organisation that it is brought into.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from api.agents.sources import check_sizes
from api.edge import parse_json
from api.problems import Problem
from api.templates.contents import check_template
from api.templates.schemas import TemplateFields
from api.texts import Description, Name
from api.variables.schemas import EnvironmentName, VariableName
from compiler.fields import IDENTIFIER

VARIABLES = "variables.json"
_ID = IDENTIFIER.pattern
_KNOWN = re.compile(
    rf"agents/({_ID})/(?:agent|workflow|canvas|versions/[1-9][0-9]{{0,8}})\.json"
    r"|templates/([0-9a-f]{16})/(?:template|workflow|canvas)\.json"
    r"|variables\.json"
)


class AgentFile(BaseModel):
    """``agent.json``."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Description | None


TemplateFile = TemplateFields
"""``template.json``."""


class VariableEntry(BaseModel):
    """A variable of ``variables.json``; ``value`` is null where it is secret."""

    model_config = ConfigDict(extra="forbid")

    environment: EnvironmentName
    name: VariableName
    secret: bool
    value: JsonValue = Field(repr=False)


@dataclass(frozen=True)
class AgentContent:
    """An agent as an archive has it."""

    workflow_id: str
    name: str
    description: str | None
    source: bytes
    document: dict[str, Any]
    canvas: dict[str, Any] | None


@dataclass(frozen=True)
class TemplateContent:
    """A template as an archive has it."""

    said: TemplateFile
    source: bytes
    canvas: dict[str, Any] | None


_VARIABLES = TypeAdapter(list[VariableEntry])


def is_known(name: str) -> bool:
    """Tell whether a file of an archive may have a name."""
    return _KNOWN.fullmatch(name) is not None


def read_agents(files: Mapping[str, bytes]) -> list[AgentContent]:
    """Return the agents of an archive, by workflow id.

    :raises Problem: 422, where a file is missing or is not as it should be.
    """
    ids = {match[1] for name in files if (match := _KNOWN.fullmatch(name)) and match[1]}
    return [_read_agent(files, workflow_id) for workflow_id in sorted(ids)]


def folder_of(name: str) -> str:
    """Return the folder of the template with a name, which may be any text and no file's name."""
    return f"templates/{hashlib.sha256(name.encode()).hexdigest()[:16]}/"


def read_templates(files: Mapping[str, bytes]) -> list[TemplateContent]:
    """Return the templates of an archive.

    :raises Problem: 422, where a file is missing or is not as it should be; 413.
    """
    digests = {match[2] for name in files if (match := _KNOWN.fullmatch(name)) and match[2]}
    return [_read_template(files, f"templates/{digest}/") for digest in sorted(digests)]


def read_variables(files: Mapping[str, bytes]) -> list[VariableEntry]:
    """Return the variables of an archive.

    :raises Problem: 422.
    """
    if VARIABLES not in files:
        return []
    try:
        entries = _VARIABLES.validate_python(_parse(files, VARIABLES))
    except ValidationError as error:
        raise _wrong(VARIABLES, error) from None
    if len({(entry.environment, entry.name) for entry in entries}) < len(entries):
        raise _invalid(f"{VARIABLES!r} must name each variable once.")
    return entries


def _read_agent(files: Mapping[str, bytes], workflow_id: str) -> AgentContent:
    prefix = f"agents/{workflow_id}/"
    try:
        described = AgentFile.model_validate(_parse(files, f"{prefix}agent.json"))
    except ValidationError as error:
        raise _wrong(f"{prefix}agent.json", error) from None
    document = _parse_object(files, f"{prefix}workflow.json")
    canvas = _canvas(files, prefix)
    for name in files:
        if name.startswith(f"{prefix}versions/"):
            _parse_object(files, name)
    inside = document.get("id")
    if isinstance(inside, str) and re.fullmatch(_ID, inside) and inside != workflow_id:
        raise _invalid(f"The workflow of {prefix!r} must have the id {workflow_id!r}; got {inside!r}.")
    source = files[f"{prefix}workflow.json"]
    check_sizes(source, canvas)
    return AgentContent(workflow_id, described.name, described.description, source, document, canvas)


def _read_template(files: Mapping[str, bytes], prefix: str) -> TemplateContent:
    try:
        said = TemplateFile.model_validate(_parse(files, f"{prefix}template.json"))
    except ValidationError as error:
        raise _wrong(f"{prefix}template.json", error) from None
    if folder_of(said.name) != prefix:
        raise _invalid(f"The template {said.name!r} must be in {folder_of(said.name)!r}; got {prefix!r}.")
    _parse_object(files, f"{prefix}workflow.json")
    canvas = _canvas(files, prefix)
    source = files[f"{prefix}workflow.json"]
    check_template(source, canvas, said.input_example)
    return TemplateContent(said, source, canvas)


def _canvas(files: Mapping[str, bytes], prefix: str) -> dict[str, Any] | None:
    name = f"{prefix}canvas.json"
    return _parse_object(files, name) if name in files else None


def _parse(files: Mapping[str, bytes], name: str) -> Any:
    if name not in files:
        raise _invalid(f"The zip must have {name!r}.")
    try:
        return parse_json(files[name])
    except Problem as problem:
        raise _invalid(f"{name!r} must be JSON: {problem.detail}") from None


def _parse_object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    value = _parse(files, name)
    if not isinstance(value, dict):
        raise _invalid(f"{name!r} must be a JSON object.")
    return value


def _wrong(name: str, error: ValidationError) -> Problem:
    first = error.errors(include_input=False, include_url=False)[0]
    return _invalid(f"{name!r} must be as an export has it: {'.'.join(map(str, first['loc']))}: {first['msg']}.")


def _invalid(detail: str) -> Problem:
    return Problem(422, "invalid_archive", detail)
