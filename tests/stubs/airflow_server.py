"""A stand-in for Airflow's REST API: log-in, DAGs, runs, their tasks, import errors and parse requests, with Airflow
3.3's statuses and shapes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict


class _TriggerBody(BaseModel):
    """Airflow refuses unknown keys, and wants ``logical_date`` to be there, null or not."""

    model_config = ConfigDict(extra="forbid")

    dag_run_id: str
    logical_date: str | None
    conf: dict[str, Any] | None = None


class _PatchBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    state: Literal["queued", "success", "failed"]


class _ClearBody(BaseModel):
    """As in Airflow, nothing is cleared unless ``dry_run`` is said to be false."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = True
    only_failed: bool = False
    only_new: bool = False
    run_on_latest_version: bool | None = None
    note: str | None = None


@dataclass
class AirflowStub:
    """The state behind the API; tests read and change it.

    :param runs: DAG id -> run id -> the body that made the run.
    :param failures: Statuses that the next POSTs of runs answer instead, in order; ``patch_failures`` the next PATCHes.
    :param states: Run id -> state, of runs that were changed.
    :param away: Status that every request for a DAG or a run answers while it is set.
    :param headers: Of those answers.
    :param broken: Ids of runs that answer HTTP 500.
    :param posts: How often a run was asked for: ``made``, ``there already``, ``broken``.
    :param requests: How many requests for DAGs and runs came.
    :param moments: When each of them did, in seconds of ``time.monotonic``.
    :param clears: Run id -> the bodies that cleared it; ``clear_failures`` as ``failures``.
    :param ages: Run id -> seconds since Airflow queued it and last looked at it; 0 of the others.
    :param tasks: Run id -> ``(task id, state, try number)``.
    :param stale: DAGs whose file Airflow has lost.
    :param import_errors: File name -> traceback.
    :param pages: How many pages of runs were read; a page holds ``page_size``.
    :param on_read: Called before each answer about one run.
    :param html: Whether something else answers in Airflow's place.
    """

    username: str = "admin"
    password: str = "secret"
    tags: dict[str, set[str]] = field(default_factory=dict)
    runs: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    patch_failures: list[int] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    away: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    posts: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    moments: list[float] = field(default_factory=list)
    clears: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clear_failures: list[int] = field(default_factory=list)
    ages: dict[str, float] = field(default_factory=dict)
    tasks: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    import_errors: dict[str, str] = field(default_factory=dict)
    pages: int = 0
    page_size: int = 100
    on_read: Callable[[], Awaitable[Any]] | None = None
    html: bool = False
    tokens: set[str] = field(default_factory=set)
    logins: int = 0
    refused_logins: int = 0
    dag_reads: int = 0
    parsed: list[str] = field(default_factory=list)
    accepted: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, dag_id: str, digest: str) -> None:
        """Have the DAG of a plan loaded."""
        self.tags[dag_id] = {"agent-factory", f"plan:{digest[:12]}"}
        self.runs.setdefault(dag_id, {})

    def expire_token(self) -> None:
        """Make every token that was given invalid."""
        self.tokens.clear()

    async def _delete_dag(self, dag_id: str, request: Request) -> None:
        self._check(request)
        if dag_id not in self.tags:
            raise HTTPException(404)
        del self.tags[dag_id]
        self.runs.pop(dag_id, None)

    def app(self) -> FastAPI:
        """Return the server."""
        app = FastAPI()
        app.middleware("http")(self._answer)
        app.post("/auth/token", status_code=201)(self._log_in)
        app.get("/api/v2/dags/{dag_id}")(self._get_dag)
        app.delete("/api/v2/dags/{dag_id}", status_code=204)(self._delete_dag)
        app.get("/api/v2/importErrors")(self._get_import_errors)
        app.post("/api/v2/dags/{dag_id}/dagRuns")(self._start)
        app.get("/api/v2/dags/~/dagRuns")(self._list_runs)
        app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances")(self._list_tasks)
        app.get("/api/v2/dags/{dag_id}/dagRuns/{run_id}")(self._get_run)
        app.patch("/api/v2/dags/{dag_id}/dagRuns/{run_id}")(self._patch_run)
        app.post("/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear")(self._clear_run)
        app.put("/api/v2/parseDagFile/{file_token}", status_code=201)(self._parse)
        return app

    async def _answer(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        return HTMLResponse("<h1>Not found</h1>", 404) if self.html else await call_next(request)

    async def _log_in(self, body: dict[str, str]) -> dict[str, str]:
        if body != {"username": self.username, "password": self.password}:
            self.refused_logins += 1
            raise HTTPException(401, "Invalid credentials")
        self.logins += 1
        token = f"token-{self.logins}"
        # As in Airflow the older ones stay good: several relays are signed in at once.
        self.tokens.add(token)
        return {"access_token": token}

    def _check(self, request: Request) -> None:
        self.requests += 1
        self.moments.append(time.monotonic())
        if self.away is not None:
            raise HTTPException(self.away, "as the test wants it", self.headers)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise HTTPException(401, "Invalid JWT token")

    async def _get_dag(self, dag_id: str, request: Request) -> dict[str, Any]:
        self._check(request)
        self.dag_reads += 1
        if dag_id not in self.tags:
            raise HTTPException(404, f"The Dag with ID: `{dag_id}` was not found")
        tags = [{"name": name, "dag_id": dag_id} for name in sorted(self.tags[dag_id])]
        is_stale = dag_id in self.stale
        return {
            "dag_id": dag_id,
            "is_paused": False,
            "is_stale": is_stale,
            "tags": tags,
            "file_token": f"file.{dag_id}",
        }

    async def _start(self, dag_id: str, body: _TriggerBody, request: Request) -> dict[str, Any]:
        self._check(request)
        if self.failures:
            raise HTTPException(self.failures.pop(0), "as the test wants it")
        if body.dag_run_id in self.broken:
            self.posts["broken"] += 1
            raise HTTPException(500, "as the test wants it")
        if dag_id not in self.tags:
            raise HTTPException(404, f"DAG with dag_id: '{dag_id}' not found")
        runs = self.runs.setdefault(dag_id, {})
        if body.dag_run_id in runs:
            self.posts["there already"] += 1
            raise HTTPException(409, {"reason": "Unique constraint violation", "statement": "hidden"})
        runs[body.dag_run_id] = body.model_dump()
        self.posts["made"] += 1
        self.accepted.set()
        return {"dag_run_id": body.dag_run_id, "dag_id": dag_id, "state": "queued"}

    async def _get_run(self, dag_id: str, run_id: str, request: Request) -> dict[str, Any]:
        self._check(request)
        if self.on_read is not None:
            await self.on_read()
        if run_id not in self.runs.get(dag_id, {}):
            raise HTTPException(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        return self._run(dag_id, run_id)

    def _run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        at = (datetime.now(UTC) - timedelta(seconds=self.ages.get(run_id, 0))).isoformat().replace("+00:00", "Z")
        state = self.states.get(run_id, "queued")
        looked_at = None if state == "queued" else at
        return {
            "dag_run_id": run_id, "dag_id": dag_id, "state": state, "queued_at": at, "start_date": looked_at,
            "last_scheduling_decision": looked_at,
        }  # fmt: skip

    async def _list_runs(
        self, request: Request, state: Annotated[list[str], Query()], limit: int, order_by: str, cursor: str
    ) -> dict[str, Any]:
        self._check(request)
        if order_by != "id":
            raise HTTPException(400, f"Ordering with '{order_by}' is disallowed")
        runs = [self._run(dag_id, run_id) for dag_id, run_ids in self.runs.items() for run_id in run_ids]
        runs = [run for run in runs if run["state"] in state]
        start, size = int(cursor or 0), min(limit, self.page_size)
        self.pages += 1
        following = str(start + size) if start + size < len(runs) else None
        return {"dag_runs": runs[start : start + size], "total_entries": len(runs), "next_cursor": following}

    async def _list_tasks(
        self, dag_id: str, run_id: str, request: Request, state: Annotated[list[str], Query()], limit: int
    ) -> dict[str, Any]:
        self._check(request)
        if run_id not in self.runs.get(dag_id, {}):
            raise HTTPException(404, f"DagRun with run ID: `{run_id}` was not found")
        tasks = [task for task in self.tasks.get(run_id, ()) if task[1] in state]
        shown = [{"task_id": task_id, "state": state, "try_number": number} for task_id, state, number in tasks]
        return {"task_instances": shown[:limit], "total_entries": len(tasks)}

    async def _get_import_errors(self, request: Request, filename_pattern: str, limit: int) -> dict[str, Any]:
        self._check(request)
        errors = [
            {"import_error_id": number, "filename": name, "bundle_name": "agent_factory", "stack_trace": trace}
            for number, (name, trace) in enumerate(self.import_errors.items())
            if filename_pattern in name
        ]
        return {"import_errors": errors[:limit], "total_entries": len(errors)}

    async def _patch_run(self, dag_id: str, run_id: str, body: _PatchBody, request: Request) -> dict[str, Any]:
        self._check(request)
        if self.patch_failures:
            raise HTTPException(self.patch_failures.pop(0), "as the test wants it")
        if run_id not in self.runs.get(dag_id, {}):
            raise HTTPException(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        self.states[run_id] = body.state
        return {"dag_run_id": run_id, "dag_id": dag_id, "state": body.state}

    async def _clear_run(self, dag_id: str, run_id: str, body: _ClearBody, request: Request) -> dict[str, Any]:
        self._check(request)
        if self.clear_failures:
            raise HTTPException(self.clear_failures.pop(0), "as the test wants it")
        if run_id not in self.runs.get(dag_id, {}):
            raise HTTPException(404, f"The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found")
        if body.dry_run:
            return {"task_instances": [], "total_entries": 0}
        self.clears.setdefault(run_id, []).append(body.model_dump())
        # A run that has not ended keeps its state; its tasks begin again all the same.
        if self.states.get(run_id, "queued") in ("success", "failed"):
            self.states[run_id] = "queued"
        return {"dag_run_id": run_id, "dag_id": dag_id, "state": self.states.get(run_id, "queued")}

    async def _parse(self, file_token: str, request: Request) -> None:
        self._check(request)
        if file_token in self.parsed:
            raise HTTPException(409, "Unique constraint violation")
        self.parsed.append(file_token)
