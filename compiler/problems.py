"""The collector of diagnostics: every stage reports into one, and the caller gets them in document order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from compiler.diagnostics import Code, Diagnostic, closest, pointer

Parts = tuple[str | int, ...]
"""The path of a value in the workflow, as keys and indices."""


MAX_SUGGESTIONS = 100
"""Words are compared one by one with all that are known. A file may have a hundred thousand slips; nobody reads on."""
MAX_WORD = 100


class Problems:
    """Collects diagnostics about one document.

    :param for_run: True where the workflow is to be compiled, run or published: what is not available yet is then an
        error, else a warning.
    """

    def __init__(self, *, for_run: bool) -> None:
        self.for_run = for_run
        self._suggestions_left = MAX_SUGGESTIONS
        self._found: list[tuple[Parts, Diagnostic]] = []

    def error(
        self, code: Code, parts: Parts, message: str, *, task_id: str | None = None, suggestion: str | None = None
    ) -> None:
        """Report an error at a path."""
        self._found.append((parts, Diagnostic("error", code, message, pointer(parts), task_id, suggestion)))

    def warning(
        self, code: Code, parts: Parts, message: str, *, task_id: str | None = None, suggestion: str | None = None
    ) -> None:
        """Report a warning at a path."""
        self._found.append((parts, Diagnostic("warning", code, message, pointer(parts), task_id, suggestion)))

    def unavailable(self, code: Code, parts: Parts, message: str, *, task_id: str | None = None) -> None:
        """Report something of the format whose behaviour does not exist yet."""
        report = self.error if self.for_run else self.warning
        report(code, parts, message, task_id=task_id)

    def closest(self, word: str, known: Iterable[str], *, but: str | None = None) -> str | None:
        """Return the known word most like one that is unknown, or None.

        :param but: A known word that would be wrong here.
        """
        if self._suggestions_left == 0 or len(word) > MAX_WORD:
            return None
        self._suggestions_left -= 1
        return closest(word, (name for name in known if name != but and len(name) <= MAX_WORD))

    def in_document_order(self, document: Any) -> list[Diagnostic]:
        """Return the diagnostics in the order of the document, then by code, each once."""
        order = _Order(document)
        found = sorted(self._found, key=lambda item: (order.of(item[0]), item[1].code, item[1].message))
        return list(dict.fromkeys(diagnostic for _, diagnostic in found))


class _Order:
    """Where a path stands in a document: its place among its siblings at each level."""

    def __init__(self, document: Any) -> None:
        self._document = document
        self._places: dict[int, dict[str, int]] = {}

    def of(self, parts: Parts) -> tuple[int, ...]:
        value = self._document
        places: list[int] = []
        for part in parts:
            if isinstance(value, dict) and part in value:
                places.append(self._place(value, str(part)))
                value = value[part]
            elif isinstance(value, list) and isinstance(part, int) and part < len(value):
                places.append(part)
                value = value[part]
            else:
                break
        return tuple(places)

    def _place(self, mapping: dict[str, Any], key: str) -> int:
        if id(mapping) not in self._places:
            self._places[id(mapping)] = {name: place for place, name in enumerate(mapping)}
        return self._places[id(mapping)][key]


def listed(names: Sequence[str]) -> str:
    """Return names as they stand in a sentence: ``'a', 'b' and 'c'``."""
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def shown(value: Any, limit: int = 60) -> str:
    """Return a value as a message shows it: as JSON, cut after ``limit`` characters."""
    text = f"'{value}'" if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def one_line(text: str) -> str:
    """Return a text that cannot move the cursor or fake another line: what does not print is escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)
