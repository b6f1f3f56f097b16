"""``transform``: new values from old ones, by expressions or by JSONPath (RFC 9535)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from compiler.expressions import render
from compiler.plan import Step
from operators.steps.base import Scope, StepFailedError, StepKey, StepResult, StepServices, config_error


@dataclass(frozen=True, slots=True)
class Query:
    """A JSONPath query and the value it reads."""

    source: JsonValue
    path: str


@dataclass(frozen=True, slots=True)
class Assignment:
    """The object of a ``set``, with its expressions evaluated."""

    value: JsonValue


class Transform:
    """Yields the object of ``set``, or ``{values}``: what the JSONPath query found, in its order."""

    def render(self, step: Step, scope: Scope) -> Query | Assignment:
        """Evaluate ``set``, or ``from`` and ``jsonpath``."""
        config: dict[str, Any] = step.config
        if config.get("set") is not None:
            return Assignment(render(config["set"], scope, hands_on=True))
        return Query(source=render(config["from"], scope, hands_on=True), path=config["jsonpath"])

    async def call(self, request: Query | Assignment, services: StepServices, key: StepKey) -> StepResult:
        """Return the object or run the query.

        :raises StepFailedError: The query is no JSONPath, or asks for too much.
        """
        if isinstance(request, Assignment):
            return StepResult(request.value)
        return StepResult({"values": find_all(request.path, request.source)})


def find_all(path: str, value: JsonValue) -> list[JsonValue]:
    """Return every value the query finds; ``[]`` for none.

    :raises StepFailedError: ``path`` is not a query of RFC 9535, or asks for too much (``limit_exceeded``).
    """
    # Imported here: it takes a tenth of a second, and few workflows have a JSONPath.
    from compiler import json_path

    try:
        return json_path.find_all(path, value)
    except json_path.QueryError as error:
        raise config_error(f"`jsonpath` must be a query of RFC 9535; got {path!r}: {error}") from None
    except json_path.QueryLimitError as error:
        raise StepFailedError("limit_exceeded", f"`jsonpath`: {error}", retryable=False) from None
