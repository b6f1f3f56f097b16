"""Reading a key or an item: the only way into a value."""

from __future__ import annotations

from collections.abc import Iterable

from jinja2 import nodes

from compiler.expressions.errors import EvaluationError, MissingError, failed
from compiler.expressions.tree import source_of
from compiler.expressions.values import MAX_INTEGER, MIN_INTEGER, Json, type_name

_KEYS_SHOWN = 10
_LONGEST_KEY_SHOWN = 40


class Withheld(dict[str, Json]):
    """An object of which some keys are known and may not be read.

    :param withheld: Those keys; they are not in the object.
    :param kind: What they are, for the message.
    """

    def __init__(self, values: dict[str, Json], withheld: Iterable[str], kind: str) -> None:
        super().__init__(values)
        self.withheld = frozenset(withheld)
        self.kind = kind


def read(value: Json, key: Json, place: str | nodes.Expr) -> Json:
    """Return ``value[key]`` of an object or a list.

    :param place: What reads, for the message.
    :raises MissingError: There is no such key or item, or the value has none.
    :raises EvaluationError: The key is no key, or begins with ``__``.
    """
    if isinstance(key, str):
        if key.startswith("__"):
            raise failed(f"`{_where(place)}`: keys that begin with '__' are forbidden")
        if isinstance(value, dict) and key in value:
            return value[key]
        if isinstance(value, Withheld) and key in value.withheld:
            # Not a missing key: `default` must not hide it.
            raise failed(f"`{_where(place)}`: {_shown(key)} is {value.kind}, which expressions may not read")
        raise _missing_key(value, key, _where(place))
    if isinstance(key, int) and not isinstance(key, bool):
        if isinstance(value, list) and -len(value) <= key < len(value):
            return value[key]
        raise _missing_item(value, key, _where(place))
    raise failed(f"`{_where(place)}`: a key must be a string or a whole number; got {type_name(key)}")


def read_path(value: Json, path: list[str | int], place: str) -> Json:
    """Return what is at the end of a path of keys; errors as in :func:`read`."""
    for key in path:
        value = read(value, key, place)
    return value


def attribute_path(name: str, attribute: Json) -> list[str | int]:
    """Return the path that an ``attribute`` such as ``'customer.emails.0'`` means.

    :raises EvaluationError: It is neither a string nor a whole number.
    """
    if isinstance(attribute, str):
        return [
            int(part) if part.isdecimal() and part.isascii() and len(part) < 10 else part
            for part in attribute.split(".")
        ]
    if isinstance(attribute, int) and not isinstance(attribute, bool):
        return [attribute]
    raise failed(f"`{name}` takes the attribute as a string; got {type_name(attribute)}")


def missing_name(name: str) -> EvaluationError:
    """Return the error of a name that is not in the scope."""
    return MissingError(f"`{name}`: there is no such name here")


def _where(place: str | nodes.Expr) -> str:
    return place if isinstance(place, str) else source_of(place) or "the value"


def _missing_key(value: Json, key: str, where: str) -> EvaluationError:
    if isinstance(value, dict):
        return MissingError(f"`{where}`: no key {_shown(key)}; {_keys(value)}")
    return MissingError(f"`{where}`: no key {_shown(key)}, for this is {type_name(value)} and not an object")


def _missing_item(value: Json, key: int, where: str) -> EvaluationError:
    if isinstance(value, list):
        shown = key if MIN_INTEGER <= key <= MAX_INTEGER else "of that number"
        return MissingError(f"`{where}`: no item {shown}; the list has {len(value)}")
    return MissingError(f"`{where}`: no item, for this is {type_name(value)} and not a list")


def _keys(value: dict[str, Json]) -> str:
    if not value:
        return "the object is empty"
    shown = [_shown(key) for key, _ in zip(value, range(_KEYS_SHOWN), strict=False)]
    more = ", …" if len(value) > _KEYS_SHOWN else ""
    return f"there are: {', '.join(shown)}{more}"


def _shown(key: str) -> str:
    return repr(key if len(key) <= _LONGEST_KEY_SHOWN else key[:_LONGEST_KEY_SHOWN] + "…")
