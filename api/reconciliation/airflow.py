"""What reconciliation asks Airflow, and how it reads the answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from api.relay.airflow import AirflowClient

PAGE = 100
"""Airflow's largest page, unless its administrator allows more."""
MOST_PAGES = 200
MOST_TASKS = 20
ENDED_RUN = ("success", "failed")
BUSY_TASK = ("scheduled", "queued", "running", "restarting", "deferred", "awaiting_input")
"""States of a task that come to something without another look of the scheduler at its run."""
MOST_ERROR_TEXT = 300


@dataclass(frozen=True)
class Run:
    """A run of Airflow.

    :param queued_at: When it was queued last: a clear queues a run again.
    :param looked_at: When the scheduler looked at it last, or when it was queued.
    """

    dag_id: str
    run_id: str
    state: str
    queued_at: datetime | None
    looked_at: datetime | None

    @classmethod
    def from_json(cls, body: Any) -> Run:
        """Read Airflow's answer."""
        queued_at = _moment(body.get("queued_at"))
        moments = [queued_at, _moment(body.get("last_scheduling_decision")), _moment(body.get("start_date"))]
        looked_at = max((moment for moment in moments if moment is not None), default=None)
        return cls(str(body["dag_id"]), str(body["dag_run_id"]), str(body["state"]), queued_at, looked_at)

    @property
    def has_ended(self) -> bool:
        """Whether Airflow does nothing more about it."""
        return self.state in ENDED_RUN

    def is_unattended(self, now: datetime, seconds: float) -> bool:
        """Tell whether the scheduler has not looked at it for so long: Airflow is busy, or the DAG is not there."""
        return self.looked_at is not None and now - self.looked_at > timedelta(seconds=seconds)


def _moment(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else None


class AirflowRuns:
    """Airflow's runs and DAGs.

    All methods raise :class:`AirflowAwayError` and :class:`AirflowRefusedError`.
    """

    def __init__(self, client: AirflowClient) -> None:
        self._client = client

    async def active(self) -> list[Run]:
        """Return the runs that have not ended, of all DAGs; at most ``MOST_PAGES`` pages, the oldest first."""
        runs: list[Run] = []
        cursor: str | None = ""
        for _ in range(MOST_PAGES):
            page = await self._client.read(
                "dags/~/dagRuns", state=["queued", "running"], limit=PAGE, cursor=cursor, order_by="id"
            )
            runs += [Run.from_json(run) for run in (page or {}).get("dag_runs", ())]
            cursor = (page or {}).get("next_cursor")
            if cursor is None:
                break
        return runs

    async def run(self, dag_id: str, run_id: str) -> Run | None:
        """Return a run; None where Airflow has none."""
        body = await self._client.read(_path(dag_id, run_id))
        return None if body is None else Run.from_json(body)

    async def failed_tasks(self, dag_id: str, run_id: str) -> list[str]:
        """Say of each failed task of a run how often it was tried."""
        tasks = await self._tasks(dag_id, run_id, ("failed",))
        return [f"{task['task_id']} (try {task['try_number']})" for task in tasks]

    async def is_busy(self, dag_id: str, run_id: str) -> bool:
        """Tell whether a task of a run is at work, about to be, or deferred."""
        return bool(await self._tasks(dag_id, run_id, BUSY_TASK))

    async def _tasks(self, dag_id: str, run_id: str, states: tuple[str, ...]) -> list[Any]:
        path = f"{_path(dag_id, run_id)}/taskInstances"
        body = await self._client.read(path, state=list(states), limit=MOST_TASKS)
        return list((body or {}).get("task_instances", ()))

    async def knows(self, dag_id: str) -> bool:
        """Tell whether Airflow has a DAG of this id at all."""
        return await self._client.read(f"dags/{quote(dag_id)}") is not None

    async def is_lost(self, dag_id: str) -> bool:
        """Tell whether Airflow has lost a DAG, so that its scheduler passes over the DAG's runs."""
        dag = await self._client.read(f"dags/{quote(dag_id)}")
        return dag is None or bool(dag.get("is_stale"))

    async def import_error(self, dag_id: str) -> str | None:
        """Return why Airflow cannot load a DAG's file; None where it does not say.

        Only the exception itself: what stands above it are paths of the machine.
        """
        body = await self._client.read("importErrors", filename_pattern=f"{dag_id}.py", limit=PAGE)
        for error in (body or {}).get("import_errors", ()):
            if str(error.get("filename", "")).rpartition("/")[2] == f"{dag_id}.py":
                lines = str(error.get("stack_trace", "")).strip().splitlines()
                return lines[-1].strip()[:MOST_ERROR_TEXT] if lines else "no reason was given"
        return None

    async def stop(self, run: Run, state: str) -> None:
        """End a run that has nothing more to do."""
        await self._client.stop_run(run.dag_id, run.run_id, state)


def _path(dag_id: str, run_id: str) -> str:
    return f"dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"
