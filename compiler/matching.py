"""Checks values against the JSON Schemas of a workflow, which a tenant has written: with bounded work.

A small schema and a small value can ask for more steps than there is time: by a regular expression that goes back and
forth, or by references that look at the same value twice, and at what is in it twice again. So patterns are of RE2,
whose time is linear in the text, and each keyword that is applied costs a step of a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import re2
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry

MAX_STEPS = 250_000
"""Keywords applied for one value: about a second."""
MAX_PATTERN_CHARS = 1_000
SEARCHED_A_STEP = 1_000
"""Instructions of a pattern times characters of a text: at worst, RE2 takes 10 ns for each."""
MESSAGE_CHARS_A_STEP = 100
"""A message quotes the value: long ones cost more."""
UNEVALUATED_STEPS = 1_000
"""What ``unevaluatedItems`` and ``unevaluatedProperties`` cost: they go through all schemas of the value once more."""

Result = TypeVar("Result")
_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class UncheckableError(Exception):
    """A value cannot be checked against its schema; says why."""


class TooMuchWorkError(UncheckableError):
    """A value takes more steps to check than are allowed."""

    def __init__(self, steps: int) -> None:
        super().__init__(f"the schema asks for more than {steps:,} checks of this value")


class BadPatternError(UncheckableError):
    """The schema has a pattern that RE2 does not know; it was published when it could."""

    def __init__(self, pattern: str) -> None:
        super().__init__(f"the schema's pattern {pattern!r} is none of RE2; publish the workflow with another")


class Mismatch(NamedTuple):
    """Where and why a value does not match.

    :param path: Keys and indices down to the place; empty for the value itself.
    """

    path: tuple[str | int, ...]
    message: str


class BoundedValidator:
    """A checked schema, ready for values. A reference that leaves it is an error, never a request.

    :param schema: By ``compiler.schemas.check_schema``, or one that anybody has checked like it.
    """

    def __init__(self, schema: Any) -> None:
        # An empty registry: a remote reference is an error, never a request.
        self._validator = _Validator(schema, registry=Registry())

    def mismatches(self, value: Any, most: int, steps: int = MAX_STEPS) -> list[Mismatch]:
        """Return the first mismatches of a value.

        :raises UncheckableError: It takes more than ``steps``, or a pattern is none.
        """
        return [_mismatch(error) for error in _bounded(lambda: list(islice(self._errors(value), most)), steps)]

    def best_mismatch(self, value: Any, steps: int = MAX_STEPS) -> Mismatch | None:
        """Return the mismatch that tells most, or None where the value matches.

        :raises UncheckableError: It takes more than ``steps``, or a pattern is none.
        """
        error = _bounded(lambda: best_match(self._errors(value)), steps)
        return None if error is None else _mismatch(error)

    def _errors(self, value: Any) -> Iterator[ValidationError]:
        errors: Iterator[ValidationError] = self._validator.iter_errors(value)
        return errors


def pattern_problem(pattern: str) -> str | None:
    """Return why a text is no pattern that a schema may have; None where it is one."""
    if len(pattern) > MAX_PATTERN_CHARS:
        return f"A pattern may have {MAX_PATTERN_CHARS:,} characters; this one has {len(pattern):,}."
    try:
        compile_pattern(pattern)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        return f"A pattern must be a regular expression of RE2, without look-around and back-references: {reason}."
    return None


class _Budget:
    def __init__(self, steps: int) -> None:
        self.left = self.steps = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuchWorkError(self.steps)


_budget: ContextVar[_Budget] = ContextVar("budget")


def _bounded(check: Callable[[], Result], steps: int) -> Result:
    token = _budget.set(_Budget(steps))
    try:
        return check()
    except RecursionError:
        raise TooMuchWorkError(steps) from None
    finally:
        _budget.reset(token)


def _mismatch(error: ValidationError) -> Mismatch:
    return Mismatch(tuple(error.absolute_path), error.message)


_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(keyword: _Keyword, cost: int) -> _Keyword:
    """Return a keyword that is paid for by the budget."""

    def apply(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        budget = _budget.get()
        budget.spend(cost)
        for error in keyword(validator, value, instance, schema) or ():
            budget.spend(len(error.message) // MESSAGE_CHARS_A_STEP)
            yield error

    return apply


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> Any:
    """Return a pattern of RE2, ready for texts.

    :raises re2.error: It is none; ``pattern_problem`` tells before.
    """
    return re2.compile(pattern, _OPTIONS)


def search_cost(compiled: Any, text: str) -> int:
    """Return the steps of a search: RE2 is linear in the text, times the size of the pattern where it knows no better.

    :param compiled: By ``compile_pattern``.
    """
    return int(len(text) * compiled.programsize // SEARCHED_A_STEP)


def _finds(pattern: str, text: str) -> bool:
    """Search; a schema that nobody has checked, of an earlier version say, may have a pattern that is none."""
    try:
        compiled = compile_pattern(pattern)
    except re2.error:
        raise BadPatternError(pattern) from None
    _budget.get().spend(search_cost(compiled, text))
    return compiled.search(text) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _finds(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for key, value in instance.items():
                if _finds(pattern, key):
                    yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    patterns = schema.get("patternProperties", {})
    known = schema.get("properties", {})
    extras = [key for key in instance if key not in known and not any(_finds(each, key) for each in patterns)]
    if isinstance(rule, dict):
        for key in extras:
            yield from validator.descend(instance[key], rule, path=key)
    elif not rule and extras:
        names = ", ".join(map(repr, extras[:10]))
        verb = "was" if len(extras) == 1 else "were"
        yield ValidationError(f"Additional properties are not allowed ({names} {verb} unexpected)")


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    # The library compares each item with each other where they cannot be sorted.
    if wanted and isinstance(instance, list) and len({_frozen(item) for item in instance}) < len(instance):
        yield ValidationError(f"{instance!r} has non-unique elements")


def _frozen(value: Any) -> Any:
    """Return a hashable that equals that of an equal JSON value only: ``1`` is ``1.0``, and neither is ``true``."""
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, list):
        return "list", tuple(map(_frozen, value))
    if isinstance(value, dict):
        return "object", frozenset((key, _frozen(item)) for key, item in value.items())
    return value


_OWN: dict[str, _Keyword] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
_COSTS = {"unevaluatedItems": UNEVALUATED_STEPS, "unevaluatedProperties": UNEVALUATED_STEPS}
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator,
    {
        name: _counted(keyword, _COSTS.get(name, 1))
        for name, keyword in (dict(Draft202012Validator.VALIDATORS) | _OWN).items()
    },
)
