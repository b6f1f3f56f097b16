"""Schedules in several time zones, as Airflow's scheduler asks them."""

from __future__ import annotations

from types import SimpleNamespace

import pendulum
import pytest
from airflow.timetables import trigger
from airflow.timetables.base import DataInterval, TimeRestriction

from operators.tasks.timetable import ZonedCronTimetable

pytestmark = pytest.mark.unit

NO_CATCH_UP = TimeRestriction(earliest=None, latest=None, catchup=False)


def utc(text: str) -> pendulum.DateTime:
    moment = pendulum.parse(text)
    assert isinstance(moment, pendulum.DateTime)
    return moment


def next_run(monkeypatch: pytest.MonkeyPatch, *, now: str, last: str | None = None) -> str:
    """Return when Berlin's or New York's nine o'clock is due next (in November 8:00 and 14:00 UTC)."""
    moment = utc(now)
    monkeypatch.setattr(trigger, "utcnow", lambda: moment)
    monkeypatch.setattr(trigger, "time", SimpleNamespace(time=moment.timestamp))
    timetable = ZonedCronTimetable(("0 9 * * *", "Europe/Berlin"), ("0 9 * * *", "America/New_York"))
    info = timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval.exact(utc(last)) if last else None, restriction=NO_CATCH_UP
    )
    assert info is not None
    assert info.logical_date == info.run_after
    return info.run_after.format("DD HH:mm")


def test_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(monkeypatch, now="2026-11-24T03:00:00", last="2026-11-23T14:00:00") == "24 08:00"
    assert next_run(monkeypatch, now="2026-11-24T08:00:01", last="2026-11-24T08:00:00") == "24 14:00"
    assert next_run(monkeypatch, now="2026-11-24T14:00:01", last="2026-11-24T14:00:00") == "25 08:00"


def test_first_run_waits_for_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(monkeypatch, now="2026-11-24T08:04:00") == "24 14:00"
    # What came due while Airflow was loading the DAG still counts.
    assert next_run(monkeypatch, now="2026-11-24T08:00:20") == "24 08:00"


def test_missed_times_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(monkeypatch, now="2026-11-24T15:00:00", last="2026-11-20T08:00:00") == "24 14:00"


def test_summer_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(monkeypatch, now="2026-07-01T03:00:00", last="2026-06-30T13:00:00") == "01 07:00"


def test_round_trip() -> None:
    timetable = ZonedCronTimetable(("0 9 * * *", "Europe/Berlin"), ("5 * * * *", "UTC"))
    restored = ZonedCronTimetable.deserialize(timetable.serialize())
    assert restored.serialize() == timetable.serialize()
    assert restored.summary == "0 9 * * *, 5 * * * *"


def test_no_times() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ZonedCronTimetable()
