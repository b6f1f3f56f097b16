"""The log: one line an event, as text or JSON, without anything that a caller or a tenant wrote.

A traceback is logged as the names of its exceptions and its lines of code. What an exception says is left out: it may
hold a payload, as that of the database does, which quotes the row.
"""

from __future__ import annotations

import logging
import re
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal

import orjson

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request at hand."""

FIELDS = "fields"
"""Name of the ``extra`` that holds an event's own fields."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_CHARACTERS = 4_000
_MOST_CAUSES = 5

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


def configure(style: Literal["text", "json"]) -> None:
    """Send the log of this process to its standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def clean(text: str) -> str:
    """Return a text that cannot end its line or steer a terminal: control characters are written as escapes."""
    shown = text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", shown)


def describe(error: BaseException) -> list[str]:
    """Return an exception and its causes: their names, the database's error codes, and where they came from."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(lines) < 40 * _MOST_CAUSES:
        code = getattr(getattr(cause, "orig", cause), "sqlstate", None)
        lines.append(f"{type(cause).__module__}.{type(cause).__qualname__}" + (f" (SQLSTATE {code})" if code else ""))
        frames = traceback.extract_tb(cause.__traceback__)[-40:]
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return lines


class _Formatter(logging.Formatter):
    def _message(self, record: logging.LogRecord) -> str:
        return clean(record.getMessage())

    def _lines(self, record: logging.LogRecord) -> list[str]:
        error = record.exc_info[1] if record.exc_info else None
        return [clean(line) for line in describe(error)] if error is not None else []

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = getattr(record, FIELDS, {})
        identifier = request_id.get()
        return {"request_id": identifier, **fields} if identifier else fields

    def _time(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class TextFormatter(_Formatter):
    """``time level logger: message name=value ...``, and below an exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of an event."""
        fields = "".join(f" {name}={clean(str(value))}" for name, value in self._fields(record).items())
        line = f"{self._time(record)} {record.levelname} {record.name}: {self._message(record)}{fields}"
        return "\n    ".join([line, *self._lines(record)])


class JsonFormatter(_Formatter):
    """One JSON object a line: ``time, level, logger, message``, the event's fields, and ``exception``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event."""
        entry: dict[str, Any] = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._message(record),
        }
        for name, value in self._fields(record).items():
            entry[name] = value if value is None or isinstance(value, int | float) else clean(str(value))
        if lines := self._lines(record):
            entry["exception"] = lines
        return orjson.dumps(entry).decode()
