"""Turns pydantic's errors into diagnostics: our codes, a pointer that exists, rule, got and fix."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from compiler.diagnostics import Code
from compiler.fields import FormatModel
from compiler.problems import Parts, Problems, shown

_OWN_CODES: dict[str, Code] = {
    "invalid_field": "invalid_field",
    "unknown_field": "unknown_field",
    "missing_field": "missing_field",
    "invalid_config": "invalid_config",
    "invalid_trigger": "invalid_trigger",
    "unsafe_identifier": "unsafe_identifier",
}
_RULES = {
    "string_type": "must be a string",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must not be empty",
}
"""Pydantic error type -> the rule it stands for; other types keep pydantic's words."""


ModelT = TypeVar("ModelT", bound=FormatModel)


def validate(
    model: type[ModelT], value: Any, parts: Parts, problems: Problems, task_id: str | None = None
) -> ModelT | None:
    """Read a value with a model and report what is wrong with it.

    :param parts: Where the value stands in the document.
    :return: The model, or None where there were problems.
    """
    try:
        return model.model_validate(value)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            _report(error, model, value, parts, problems, task_id)
        return None


def _report(
    error: ErrorDetails, model: type[FormatModel], value: Any, parts: Parts, problems: Problems, task_id: str | None
) -> None:
    inner = _parts_in_document(error["loc"], value)
    if error["type"] == "extra_forbidden":
        key = str(error["loc"][-1])
        container = _container(value, inner[:-1])
        known = [name for name in _known_keys(model, inner[:-1]) if name not in container]
        suggestion = problems.closest(key, known)
        message = f"'{key}' is no key of this place.{did_you_mean(suggestion)}"
        problems.error("unknown_field", parts + inner, message, task_id=task_id, suggestion=suggestion)
    elif error["type"] == "missing":
        key = str(error["loc"][-1])
        problems.error("missing_field", parts + inner, f"The key '{key}' is required here.", task_id=task_id)
    else:
        code, message, suggestion = _described(error, inner, parts, problems)
        problems.error(code, parts + inner, message, task_id=task_id, suggestion=suggestion)


def _described(error: ErrorDetails, inner: Parts, parts: Parts, problems: Problems) -> tuple[Code, str, str | None]:
    """Return code, message and suggestion of an error about a value."""
    context = error.get("ctx", {})
    rule = context["rule"] if error["type"] in _OWN_CODES else _rule(error["type"], error["msg"], context)
    suggestion = None
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        suggestion = problems.closest(error["input"], re.findall(r"'([^']*)'", str(context.get("expected", ""))))
    got = f"; got {shown(error['input'])}" if not isinstance(error["input"], dict | FormatModel) else ""
    subject = _subject((*parts, *inner))
    return (
        _OWN_CODES.get(error["type"], "invalid_field"),
        f"{subject} {rule}{got}.{did_you_mean(suggestion)}",
        suggestion,
    )


def _rule(kind: str, message: str, context: dict[str, Any]) -> str:
    if kind in _RULES:
        return _RULES[kind].format(**context)
    return "is not valid: " + message[:1].lower() + message[1:]


def _subject(parts: Parts) -> str:
    """Return what a message calls the value: its nearest name."""
    names = [part for part in parts if isinstance(part, str)]
    if not names:
        return "The workflow"
    return f"`{names[-1]}`" if isinstance(parts[-1], str) else f"Each of `{names[-1]}`"


def did_you_mean(suggestion: str | None) -> str:
    """Return the sentence that ends a message where a close name is known, else nothing."""
    return f" Did you mean '{suggestion}'?" if suggestion is not None else ""


def _parts_in_document(loc: tuple[int | str, ...], value: Any) -> Parts:
    """Return the part of pydantic's path that exists in the document.

    Its path also has the tags of unions, and ends with a missing key: neither can be pointed at.
    """
    parts: list[str | int] = []
    for part in loc:
        if _has(value, part):
            value = value[part]
            parts.append(part)
    return tuple(parts)


def _has(value: Any, part: str | int) -> bool:
    if isinstance(part, str):
        return isinstance(value, dict) and part in value
    return isinstance(value, list) and part < len(value)


def _container(value: Any, parts: Parts) -> Any:
    for part in parts:
        value = value[part]
    return value


def _known_keys(model: type[FormatModel], parts: Parts) -> list[str]:
    """Return the keys a model knows at a path inside it."""
    current: type[FormatModel] | None = model
    for part in parts:
        if isinstance(part, str) and current is not None:
            fields = {field.alias or name: field for name, field in current.model_fields.items()}
            current = next(_models_in(fields[part].annotation), None) if part in fields else None
    if current is None:
        return []
    return [field.alias or name for name, field in current.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[FormatModel]]:
    """Yield the models named in an annotation such as ``list[Condition]`` or ``Settings | None``."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, FormatModel):
            yield annotation
    elif get_origin(annotation) is not None or isinstance(annotation, UnionType) or annotation is Union:
        for argument in get_args(annotation):
            yield from _models_in(argument)
