"""What Airflow loads of Agent Factory, by entry point.

Every process of Airflow imports this module, task processes too: what takes time to import is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _Timetables:
    """The timetables, imported when Airflow asks for them: only its scheduler and DAG processor do."""

    def __iter__(self) -> Iterator[type[Any]]:
        from operators.tasks.timetable import ZonedCronTimetable

        yield ZonedCronTimetable


class AgentFactoryPlugin(AirflowPlugin):
    """The timetable of schedules in several time zones."""

    name = "agent_factory"
    timetables = _Timetables()  # type: ignore[assignment]  # Airflow only iterates over it
