"""Cron expressions and time zones: read field by field, and printed anew.

Both go into the DAG file, which Airflow runs with all its rights. So what a tenant wrote is never copied: a cron
expression becomes sets of numbers, and these are printed; a time zone is replaced by the equal name of a known list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

RULE = "must be a cron expression of five fields, for example '0 9 * * 1-5'"
MAX_CRON = 500
PRINTED_CRON = re.compile(r"[0-9*,/-]+(?: [0-9*,/-]+){4}")
PRINTED_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")

_ITEM = re.compile(r"(?:\*|(?P<low>[0-9]{1,2}|[a-z]{3})(?:-(?P<high>[0-9]{1,2}|[a-z]{3}))?)(?:/(?P<step>[0-9]{1,2}))?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


class CronError(ValueError):
    """A text is no cron expression, or one that never comes true; the message begins with what it must be."""


@dataclass(frozen=True, slots=True)
class _Field:
    """One field: its numbers and the names for them. ``also`` is one more number for the lowest (Sunday is 0 and 7)."""

    name: str
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict)
    also: int | None = None

    def numbers(self, text: str) -> set[int]:
        return {number for item in text.split(",") for number in self._item(item)}

    def _item(self, text: str) -> list[int]:
        match = _ITEM.fullmatch(text)
        if match is None:
            raise CronError(f"{RULE}; {self.name} must be numbers, names, '*', ',', '-' and '/'")
        step = int(match["step"] or 1)
        if not 1 <= step <= self.high:
            raise CronError(f"{RULE}; the step of {self.name} must be 1 to {self.high}")
        return [self.low if number == self.also else number for number in self._range(match)[::step]]

    def _range(self, match: re.Match[str]) -> list[int]:
        if match["low"] is None:
            return list(range(self.low, self.high + 1))
        low = self._number(match["low"])
        if match["high"] is None:
            last = max(self.high, low) if match["step"] else low
            return list(range(low, last + 1))
        high = self._number(match["high"])
        if low <= high:
            return list(range(low, high + 1))
        # From 22 to 2 o'clock, from Friday to Sunday: over the end and on from the beginning.
        return [*range(low, self.high + 1), *range(self.low, high + 1)]

    def _number(self, text: str) -> int:
        number = int(text) if text.isdecimal() else self.names.get(text, -1)
        if not (self.low <= number <= self.high or number == self.also):
            raise CronError(f"{RULE}; {self.name} must be {self.low} to {self.high}")
        return number

    def printed(self, numbers: set[int]) -> str:
        """Return the shortest usual form; equal sets have equal forms."""
        for step in range(1, self.high // 2 + 1):
            if len(numbers) > 2 and numbers == set(range(self.low, self.high + 1, step)):
                return "*" if step == 1 else f"*/{step}"
        runs: list[list[int]] = []
        for number in sorted(numbers):
            if runs and runs[-1][-1] == number - 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs)


_FIELDS = (
    _Field("the minute", 0, 59),
    _Field("the hour", 0, 23),
    _Field("the day of the month", 1, 31),
    _Field("the month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Field("the day of the week", 0, 6, {name: number for number, name in enumerate(_DAYS)}, also=7),
)


def printed_cron(text: str) -> str:
    """Return a cron expression printed anew, of digits, ``*``, ``,``, ``-`` and ``/`` only.

    :raises CronError: It is none, or never comes true.
    """
    words = text.lower().split() if text.isascii() and len(text) <= MAX_CRON else []
    if len(words) != len(_FIELDS):
        raise CronError(RULE)
    cron = " ".join(each.printed(each.numbers(word)) for each, word in zip(_FIELDS, words, strict=True))
    # Imported here: only scheduled workflows need it.
    from croniter import croniter
    from croniter.croniter import CroniterError

    try:
        # Any fixed day will do: whether it is ever due does not depend on it.
        croniter(cron, datetime(2024, 1, 1, tzinfo=UTC)).get_next(datetime)
    except (CroniterError, ValueError, KeyError, OverflowError) as error:
        raise CronError(f"{RULE} ({error})") from error
    return cron


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Return the known names. Of the package, so that every machine knows the same."""
    from importlib.resources import files

    return {name: name for name in files("tzdata").joinpath("zones").read_text(encoding="ascii").split()}


def known_time_zone(name: str) -> str | None:
    """Return a time zone's name as the list of IANA has it; None for an unknown one."""
    return _zones().get(name)


def last_due(cron: str, timezone: str, at: datetime) -> datetime:
    """Return when a schedule was due last, up to and at a time; in UTC.

    Times are looked for on the zone's wall clock, as Airflow does, so that an hour that is skipped or comes twice
    makes no difference between the two.
    """
    from croniter import croniter

    zone = ZoneInfo(timezone)
    wall = at.astimezone(zone).replace(tzinfo=None)
    due: datetime = croniter(cron, wall + timedelta(seconds=1)).get_prev(datetime)
    return due.replace(tzinfo=zone).astimezone(UTC)
