"""Months and the ids made in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from api.upkeep.partitions.months import Month

pytestmark = pytest.mark.unit


def test_the_first_id_of_a_month() -> None:
    first = Month(2026, 11).first_id
    assert str(first) == "01a19467-e800-7000-8000-000000000000"
    assert first.version == 7
    milliseconds = first.int >> 80
    assert datetime.fromtimestamp(milliseconds / 1000, UTC) == datetime(2026, 11, 1, tzinfo=UTC)


def test_months_are_those_of_utc() -> None:
    east = timezone(timedelta(hours=9))
    assert Month.of(datetime(2026, 12, 1, 3, tzinfo=east)) == Month(2026, 11)


def test_names_and_neighbours() -> None:
    assert Month.named("2026_01") == Month(2026, 1)
    assert Month(2026, 1).name == "2026_01"
    assert Month(2026, 11).after() == Month(2026, 12)
    assert Month(2026, 11).after(2) == Month(2027, 1)
    assert Month(2026, 1).after(-1) == Month(2025, 12)
