"""Fields of a form from a JSON Schema, and an input from what was entered in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

Kind = Literal["text", "number", "choice", "json"]

WHOLE = "input"
"""Name of the one field of a form that takes the input as JSON."""
PREFIX = "input."
_BOOLEANS = (True, False)
_SCALARS = (str, int, float, bool, type(None))


class EnteredError(ValueError):
    """What was entered is no value of its field; says what it must be."""


@dataclass(frozen=True)
class Field:
    """One field.

    :param key: The property; None for the field that takes the whole input.
    :param choices: The values of a ``choice``; what is sent is a value's number.
    :param initial: What stands in it at first.
    """

    key: str | None
    kind: Kind
    label: str
    help: str = ""
    required: bool = False
    step: str = "any"
    choices: tuple[Any, ...] = ()
    initial: str = ""

    @property
    def name(self) -> str:
        """The name under which a browser sends it."""
        return WHOLE if self.key is None else PREFIX + self.key

    @property
    def options(self) -> list[tuple[str, str]]:
        """Numbers and texts of the choices."""
        return [(str(number), value if isinstance(value, str) else _dump(value))
                for number, value in enumerate(self.choices)]  # fmt: skip

    def read(self, text: str) -> Any:
        """Return the value of what was entered.

        :raises EnteredError: It is none.
        """
        if self.kind == "text":
            return text
        if self.kind == "choice":
            if not (text.isascii() and text.isdecimal() and int(text) < len(self.choices)):
                raise EnteredError("must be one of the choices")
            return self.choices[int(text)]
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            what = "a number" if self.kind == "number" else "JSON"
            raise EnteredError(f"must be {what}: {error}") from None
        if self.kind == "number" and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise EnteredError("must be a number")
        return value


def fields_of(schema: Any, *, as_json: bool = False) -> list[Field]:
    """Return the fields of a form: one a property, or one for the whole input where the schema has no such shape."""
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if as_json or not isinstance(properties, dict) or not properties or schema.get("type") != "object":
        return [Field(None, "json", "Input (JSON)", initial="{}")]
    required = schema.get("required", [])
    return [_field(key, value, key in required) for key, value in properties.items()]


def _field(key: str, schema: Any, required: bool) -> Field:
    if not isinstance(schema, dict):
        return Field(key, "json", key, required=required)
    title, text = schema.get("title"), schema.get("description")
    label = title if isinstance(title, str) and title else key
    kind, choices = _kind(schema)
    step = "1" if schema.get("type") == "integer" else "any"
    initial = _initial(kind, choices, schema["default"]) if "default" in schema else ""
    return Field(key, kind, label, text if isinstance(text, str) else "", required, step, choices, initial)


def _kind(schema: dict[str, Any]) -> tuple[Kind, tuple[Any, ...]]:
    values = schema.get("enum")
    if isinstance(values, list) and values and all(isinstance(value, _SCALARS) for value in values):
        return "choice", tuple(values)
    match schema.get("type"):
        case "string":
            return "text", ()
        case "number" | "integer":
            return "number", ()
        case "boolean":
            return "choice", _BOOLEANS
    return "json", ()


def _initial(kind: Kind, choices: tuple[Any, ...], default: Any) -> str:
    if kind == "choice":
        # By type too: 1 is not true.
        numbers = [str(number) for number, value in enumerate(choices)
                   if type(value) is type(default) and value == default]  # fmt: skip
        return numbers[0] if numbers else ""
    return default if kind == "text" and isinstance(default, str) else _dump(default)


def input_of(fields: list[Field], entered: Mapping[str, str]) -> tuple[Any, dict[str, str]]:
    """Return the input, and what is wrong by the name of its field.

    An empty field is left out, but a required text is then the empty text.
    """
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    whole: Any = {}
    for field in fields:
        # Browsers send line ends as CR LF.
        text = entered.get(field.name, "").replace("\r\n", "\n")
        if not text.strip() and field.kind != "text":
            continue
        if not text and not field.required:
            continue
        try:
            value = field.read(text)
        except EnteredError as error:
            errors[field.name] = str(error)
            continue
        if field.key is None:
            whole = value
        else:
            values[field.key] = value
    return (values if fields and fields[0].key is not None else whole), errors


def errors_by_field(fields: list[Field], errors: list[dict[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """Sort what the control plane found: by the name of its field, and the rest."""
    known = {field.key: field.name for field in fields if field.key is not None}
    beside: dict[str, str] = {}
    rest: list[str] = []
    for error in errors:
        pointer, message = str(error.get("pointer", "")), str(error.get("message", ""))
        key = pointer.split("/")[1].replace("~1", "/").replace("~0", "~") if pointer.startswith("/") else None
        if key in known and known[key] not in beside:
            beside[known[key]] = message
        else:
            rest.append(f"{pointer}: {message}" if pointer else message)
    return beside, rest


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
