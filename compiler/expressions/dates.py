"""The ``date`` filter: an ISO 8601 time in another form. It knows no clock, no place and no language."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from compiler.expressions.arguments import want_text
from compiler.expressions.budget import Budget
from compiler.expressions.errors import failed
from compiler.expressions.values import Json, is_number, type_name

MAX_FORMAT = 100

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


def _offset(moment: datetime) -> str:
    offset = moment.utcoffset()
    if offset is None:
        return ""
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"


# Python's `strftime` asks the machine's C library and locale; these answer the same everywhere.
_DIRECTIVES: dict[str, Callable[[datetime], str]] = {
    "Y": lambda t: f"{t.year:04}",
    "y": lambda t: f"{t.year % 100:02}",
    "m": lambda t: f"{t.month:02}",
    "d": lambda t: f"{t.day:02}",
    "H": lambda t: f"{t.hour:02}",
    "I": lambda t: f"{(t.hour + 11) % 12 + 1:02}",
    "M": lambda t: f"{t.minute:02}",
    "S": lambda t: f"{t.second:02}",
    "f": lambda t: f"{t.microsecond:06}",
    "p": lambda t: "AM" if t.hour < 12 else "PM",
    "A": lambda t: _DAYS[t.weekday()],
    "a": lambda t: _DAYS[t.weekday()][:3],
    "B": lambda t: _MONTHS[t.month - 1],
    "b": lambda t: _MONTHS[t.month - 1][:3],
    "j": lambda t: f"{t.timetuple().tm_yday:03}",
    "z": _offset,
    "%": lambda t: "%",
}


def date(budget: Budget, value: Json, format: Json = "%Y-%m-%d") -> Json:
    """Return a time in the given form.

    :param value: ISO 8601 text, or seconds since 1970 (then in UTC).
    :param format: Text with ``strftime``'s directives ``%Y %y %m %d %H %I %M %S %f %p %A %a %B %b %j %z %%``.
    """
    pattern = want_text("date", format, "the format as a string")
    problem = format_problem(pattern)
    if problem:
        raise failed(problem)
    moment = _moment(budget, value)
    budget.spend_text(len(pattern) * 4)
    parts = pattern.split("%")
    written = [parts[0]]
    index = 1
    while index < len(parts):
        part = parts[index]
        if part == "":
            # `%%`: the text up to the next sign is verbatim.
            index += 1
            written.append("%" + parts[index])
        else:
            written.append(_DIRECTIVES[part[0]](moment) + part[1:])
        index += 1
    return "".join(written)


def format_problem(pattern: str) -> str | None:
    """Return what is wrong with a format, or None."""
    if len(pattern) > MAX_FORMAT:
        return f"the format of `date` may have {MAX_FORMAT} characters; got {len(pattern)}"
    index = pattern.find("%")
    while index >= 0:
        directive = pattern[index + 1 : index + 2]
        if directive not in _DIRECTIVES:
            known = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            return f"the format of `date` knows {known}; got '%{directive}'"
        index = pattern.find("%", index + 2)
    return None


def _moment(budget: Budget, value: Json) -> datetime:
    try:
        if isinstance(value, str):
            budget.spend_text(len(value))
            return datetime.fromisoformat(value.strip())
        if is_number(value):
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    except (ValueError, OverflowError):
        raise failed("`date` takes an ISO 8601 time such as '2026-01-31T12:00:00Z', or seconds since 1970") from None
    raise failed(f"`date` takes an ISO 8601 time as a string, or seconds since 1970; got {type_name(value)}")
