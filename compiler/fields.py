"""Building blocks of the format's models: the base class, identifiers, durations, errors with our codes."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic_core import PydanticCustomError

from compiler.diagnostics import Code

IDENTIFIER = re.compile(r"[a-z][a-z0-9_]{0,62}")
ORGANIZATION = re.compile(r"[a-z][a-z0-9-]{0,38}")
RESERVED_IDS = frozenset(
    [
        "input",
        "trigger",
        "execution",
        "vars",
        "item",
        "loop",
        "self",
        "and",
        "or",
        "not",
        "in",
        "is",
        "if",
        "else",
        "none",
        "true",
        "false",
    ]
)

MAX_SECONDS = 366 * 86_400
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION_RULE = "must be a duration: a number of seconds, or a number with ms, s, m, h or d (for example '30s')"

Json = Any
"""A JSON value. It came out of the parser, so there is nothing left to check."""


class FormatModel(BaseModel):
    """Base of the models of the workflow format: unknown keys are refused, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_by_name=False, validate_by_alias=True)


def problem(code: Code, message: str) -> PydanticCustomError:
    """Return the error a validator raises to be reported with a code of ours.

    :param message: Begins with what the field must be; the field's name and the value are added.
    """
    return PydanticCustomError(code, "{rule}", {"rule": message})


def is_identifier(value: str) -> bool:
    """Tell whether a value is a checked identifier, safe in file names, Python and URLs."""
    return IDENTIFIER.fullmatch(value) is not None


def check_workflow_id(value: str) -> str:
    """Return a workflow's id as it is.

    :raises PydanticCustomError: It is none.
    """
    if not is_identifier(value):
        raise problem("unsafe_identifier", "must be a workflow id: a-z, then a-z, 0-9 and _, at most 63")
    return value


def is_organization(slug: str) -> bool:
    """Tell whether a value is an organisation slug."""
    return ORGANIZATION.fullmatch(slug) is not None


def parse_duration(value: object) -> float:
    """Return a duration in seconds.

    :raises PydanticCustomError: It is none, or not between 0 and 366 days.
    """
    seconds = _seconds(value)
    if not 0 < seconds <= MAX_SECONDS:
        raise problem("invalid_field", "must be more than 0 and at most 366 days")
    return seconds


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise problem("invalid_field", _DURATION_RULE)
    # Rounded, so that 100ms is 0.1 and not 0.1 plus the error of a multiplication.
    return round(float(match[1]) * _UNIT_SECONDS[match[2]], 9)


_DURATION_SCHEMA = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"},
    ],
    "description": "Seconds, or a number with a unit: ms, s, m, h, d.",
}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""A duration, normalised to seconds."""
