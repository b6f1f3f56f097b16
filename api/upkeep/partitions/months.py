"""Months, and the ids that are made in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


@dataclass(frozen=True, order=True)
class Month:
    """A month of UTC: what one partition holds."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        """Return the month of a moment."""
        utc = moment.astimezone(UTC)
        return cls(utc.year, utc.month)

    @classmethod
    def named(cls, name: str) -> Month:
        """Return the month of a name like ``2026_11``."""
        year, number = name.split("_")
        return cls(int(year), int(number))

    @property
    def name(self) -> str:
        """How partitions are named: ``2026_11``."""
        return f"{self.year:04}_{self.number:02}"

    @property
    def start(self) -> datetime:
        """The first moment of it."""
        return datetime(self.year, self.number, 1, tzinfo=UTC)

    @property
    def first_id(self) -> UUID:
        """The smallest id (a uuid of version 7) that can be made in it."""
        return UUID(int=(int(self.start.timestamp() * 1000) << 80) | _VERSION_AND_VARIANT)

    def after(self, count: int = 1) -> Month:
        """Return the month so many months later."""
        months = self.year * 12 + self.number - 1 + count
        return Month(months // 12, months % 12 + 1)
