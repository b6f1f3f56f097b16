"""A timetable for schedules in several time zones; the plugin registers it with Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from airflow.timetables.trigger import CronTriggerTimetable, MultipleCronTriggerTimetable

RUN_LATE = timedelta(seconds=30)
"""A time that passed so shortly before Airflow first saw the DAG still counts; an older one does not."""


class ZonedCronTimetable(MultipleCronTriggerTimetable):
    """Airflow's timetable of several cron expressions, each with a time zone of its own.

    One run is made for a moment, even where several schedules are due then.

    :param times: Pairs of cron expression and time zone.
    """

    def __init__(self, *times: Sequence[str]) -> None:
        if not times:
            raise ValueError("a schedule must have at least one cron expression; got none")
        # Not the parent's: that one has one time zone for all.
        self._timetables = [CronTriggerTimetable(cron, timezone=zone, run_immediately=RUN_LATE) for cron, zone in times]
        self._times = [list(pair) for pair in times]
        self.description = ", ".join(f"{cron} ({zone})" for cron, zone in times)

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ZonedCronTimetable:
        """Return the timetable that was serialized."""
        return cls(*data["times"])

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow stores: the pairs."""
        return {"times": self._times}

    @property
    def summary(self) -> str:
        """What Airflow's lists show."""
        return ", ".join(cron for cron, _ in self._times)
