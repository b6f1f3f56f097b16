"""What Airflow loads of Agent Factory, by entry point.

Every process of Airflow imports this module, task processes too: what takes time to import is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

PREFIX = "/agent-factory"


class _Timetables:
    """The timetables, imported when Airflow asks for them: only its scheduler and DAG processor do."""

    def __iter__(self) -> Iterator[type[Any]]:
        from operators.tasks.timetable import ZonedCronTimetable

        yield ZonedCronTimetable


class _Priorities:
    """The order of tasks, imported when Airflow asks for it: where it reads or writes a DAG."""

    def __iter__(self) -> Iterator[type[Any]]:
        from operators.tasks.priority import OldestRunFirst

        yield OldestRunFirst


class _Listeners:
    """The listener of ended runs, imported when Airflow registers listeners."""

    def __iter__(self) -> Iterator[Any]:
        from plugins import listener

        yield listener


async def form_app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve the form; only Airflow's API server is ever asked for it."""
    from plugins.form.app import app

    await app(scope, receive, send)


def _base_path() -> str:
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


class AgentFactoryPlugin(AirflowPlugin):
    """A form on each workflow's DAG, the timetable of schedules in several time zones, the order in which waiting tasks
    start, the listener of ended runs.
    """

    name = "agent_factory"
    timetables = _Timetables()  # type: ignore[assignment]  # Airflow only iterates over it
    priority_weight_strategies = _Priorities()  # type: ignore[assignment]
    listeners = _Listeners()  # type: ignore[assignment]
    fastapi_apps = [{"app": form_app, "url_prefix": PREFIX, "name": "Agent Factory"}]  # noqa: RUF012  Airflow's protocol
    external_views = [  # noqa: RUF012
        {
            "name": "Start with a form",
            "href": f"{_base_path()}{PREFIX}/dags/{{DAG_ID}}/form",
            "destination": "dag",
            "url_route": "agent_factory_form",
        }
    ]
