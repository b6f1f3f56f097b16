"""The control plane, and the relay in it, killed while it starts runs: each execution has one run and ends right.

``AGENT_FACTORY_SOAK_RUNS`` sets how many; ``make soak`` takes 300.
"""

from __future__ import annotations

import os
import random
import signal
import time
from typing import Any

import httpx
import psycopg2
import pytest

from api.platform.supervisor import RESTARTS_IN_TEN_MINUTES
from tests.support import Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(3600)]

# No more kills than the supervisor bears.
RUNS = int(os.environ.get("AGENT_FACTORY_SOAK_RUNS", "10"))
KILLS = min(max(2, RUNS // 50), RESTARTS_IN_TEN_MINUTES)
SEED = 20261124
WORKFLOW = {
    "id": "restarted",
    "name": "Restarted",
    "version": "1",
    "trigger": {"type": "manual"},
    "tasks": [{"id": "only", "type": "transform", "config": {"set": {"n": "{{ input.n }}"}}}],
}


def kill_control_plane(platform: Platform) -> None:
    pid = int(platform.home.read_state()["children"]["api"]["pid"])
    os.kill(pid, signal.SIGKILL)
    platform.until(lambda: platform.home.read_state()["children"]["api"]["pid"] != pid)


def answers(platform: Platform) -> bool:
    try:
        return platform.http.get("/api/v1/relay").is_success
    except httpx.TransportError:
        return False


def rows(platform: Platform, statement: str) -> list[Any]:
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()
    finally:
        connection.close()


def test_none_lost_and_none_twice(platform: Platform) -> None:
    print(f"seed {SEED}")
    chance, begun = random.Random(SEED), time.monotonic()
    published = platform.publish(WORKFLOW)
    platform.until(lambda: platform.airflow_has(published["dag_id"], published["digest"]))
    # Accepted during a pause, so that the relay has all of them before it and is killed in the midst of them.
    platform.http.post("/api/v1/workflows/restarted/pause").raise_for_status()
    accepted = [platform.execute("restarted", {"n": n}) for n in range(RUNS)]
    platform.http.post("/api/v1/workflows/restarted/resume").raise_for_status()
    for n in range(KILLS):
        share = (n + chance.random()) / KILLS
        platform.until(lambda share=share: waiting(platform) <= RUNS * (1 - share), 600)
        kill_control_plane(platform)
        platform.until(lambda: answers(platform))
    executions = [platform.wait(execution_id, 900) for execution_id in accepted]
    print(f"{RUNS} runs, {KILLS} kills, {time.monotonic() - begun:.0f} s")
    assert [execution["status"] for execution in executions] == ["success"] * RUNS
    assert [execution["output"]["only"]["n"] for execution in executions] == list(range(RUNS))
    # What the last one killed had in hand is taken up, and found done, once its hold is over.
    platform.until(lambda: waiting(platform) == 0)
    runs: list[str] = []
    path = f"/api/v2/dags/{published['dag_id']}/dagRuns"
    while len(page := platform.airflow.get(path, params={"limit": 100, "offset": len(runs)}).json()["dag_runs"]):
        runs += [run["dag_run_id"] for run in page]
    assert sorted(runs) == sorted(accepted)


def waiting(platform: Platform) -> int:
    return int(rows(platform, "SELECT count(*) FROM outbox WHERE dag_id = 'default__restarted'")[0][0])
