"""Diagnostics: what the compiler reports about a workflow, with stable codes.

Every problem is collected, never only the first. A message says rule, got and, where it can, the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning"]

Code = Literal[
    "invalid_json",
    "invalid_field",
    "unknown_field",
    "missing_field",
    "unknown_type",
    "unavailable_type",
    "unavailable_feature",
    "invalid_config",
    "invalid_trigger",
    "unsafe_identifier",
    "duplicate_id",
    "unknown_task",
    "unknown_version",
    "cycle",
    "unreachable_task",
    "undefined_reference",
    "not_upstream",
    "racy_reference",
    "expression_syntax",
    "expression_forbidden",
    "no_default_branch",
    "nested_map",
    "needs_kubernetes",
    "limit_exceeded",
]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem of a workflow.

    :param severity: ``error`` stops compilation, ``warning`` does not.
    :param code: Stable code; each has a page ``docs/diagnostics/<code>.md``.
    :param message: Rule, got, fix, in one or two sentences.
    :param path: RFC 6901 pointer into the workflow; ``""`` is the whole document.
    :param task_id: The task the problem belongs to, if any.
    :param suggestion: A replacement value that would fix it, if one is known.
    """

    severity: Severity
    code: Code
    message: str
    path: str = ""
    task_id: str | None = None
    suggestion: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the diagnostic as the JSON object of the format page."""
        return asdict(self)


def pointer(parts: Iterable[str | int]) -> str:
    """Return the RFC 6901 pointer of a path; ``()`` is ``""``."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like ``word``, or None if none is close."""
    matches = difflib.get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def has_errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Tell whether any of the diagnostics stops compilation."""
    return any(diagnostic.severity == "error" for diagnostic in diagnostics)
