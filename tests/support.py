"""What tests use of the embedded platform."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg2

from api.platform.home import Home
from api.platform.postgres import Cluster, locate, server_environment
from api.settings import Settings

OWNER, OWNER_PASSWORD = "agent_factory_owner", "owner-secret"
"""Who owns the tables in the databases of the control plane's tests."""
LONGEST_PAUSE_SECONDS = 0.4
MODEL_KEY = "sk-stub-5d1c9a"
"""The key that the session's platform has for the stub of the model services."""


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def temporary_home() -> Iterator[Home]:
    """A new state folder with free ports; removed with its cluster."""
    folder = Path(tempfile.mkdtemp(prefix="af-"))
    api_port, airflow_port = free_ports(2)
    home = Home(folder / "home", api_port, airflow_port)
    try:
        yield home
    finally:
        note = home.path / "postgres.path"
        if note.exists():
            shutil.rmtree(note.read_text(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def production_roles(cluster: Cluster, database: str) -> list[str]:
    """Return the statements of ``docs/tenancy.md`` that make the roles and a database."""
    text = (Path(__file__).parents[1] / "docs" / "tenancy.md").read_text()
    block = text.split("```sql\n", 1)[1].split("```", 1)[0]
    block = block.replace("<owner>", OWNER_PASSWORD).replace("<app>", cluster.app_password)
    statements = [line for line in block.splitlines() if line]
    return [*statements[:-1], statements[-1].replace("DATABASE agent_factory ", f"DATABASE {database} ")]


@contextmanager
def running_postgres() -> Iterator[Cluster]:
    """A PostgreSQL without anything else, in a temporary home."""
    with temporary_home() as home:
        home.prepare()
        cluster = locate(home.path, home.credentials().postgres_password)
        cluster.initialise()
        account = cluster.account
        with (home.logs / "postgres.log").open("wb") as log:
            server = subprocess.Popen(
                cluster.command(), env=server_environment(), cwd="/", stdout=log, stderr=log,
                user=account.uid if account else None, group=account.gid if account else None,
                extra_groups=[] if account else None,
            )  # fmt: skip
        try:
            cluster.wait_ready(server)
            yield cluster
        finally:
            # SIGINT ends sessions that a test leaked; SIGTERM would wait for them.
            server.send_signal(signal.SIGINT)
            server.wait()


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    """Wait until something is true that no event tells. To ask often costs what is waited for its time."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(pause)
        pause = min(LONGEST_PAUSE_SECONDS, 1.3 * pause)


@dataclass
class Platform:
    """A running platform as tests use it."""

    home: Home
    state: dict[str, Any]
    http: httpx.Client
    airflow: httpx.Client
    cluster: Cluster

    def settings(self) -> Settings:
        """Return settings with which this process can use the control plane's database."""
        return Settings(
            database_url=self.cluster.app_url("agent_factory"),
            api_url=self.home.api_url,
            airflow_url=self.home.airflow_url,
            api_token=self.state["api_token"],
            runtime_token=self.home.credentials().runtime_token,
        )

    def publish(self, workflow: dict[str, Any]) -> dict[str, Any]:
        """Publish a workflow and return the answer."""
        response = self.http.post(f"/api/v1/workflows/{workflow['id']}/publish", json=workflow)
        assert response.status_code in (200, 201), response.text
        body: dict[str, Any] = response.json()
        return body

    def execute(self, workflow_id: str, data: Any) -> str:
        """Start a workflow and return the execution's id."""
        response = self.http.post("/api/v1/workflows/execute", json={"workflow_id": workflow_id, "input": data})
        assert response.status_code == 202, response.text
        return str(response.json()["execution_id"])

    def wait(self, execution_id: str, seconds: float = 240.0) -> dict[str, Any]:
        """Wait for the end of an execution and return it."""
        body: dict[str, Any] = {}
        for _ in range(int(seconds / 10) + 1):
            response = self.http.get(f"/api/v1/executions/{execution_id}", params={"wait": "10s"})
            assert response.status_code == 200, response.text
            body = response.json()
            if body["status"] not in ("pending", "running"):
                return body
        raise AssertionError(f"execution {execution_id} did not end: {body}")

    def set_variables(self, values: dict[str, Any]) -> None:
        """Give the organisation variables; those that are there stay."""
        connection = psycopg2.connect(self.cluster.url("agent_factory"))
        try:
            with connection, connection.cursor() as cursor:
                for name, value in values.items():
                    cursor.execute(
                        "INSERT INTO variables (organization_id, name, value) SELECT id, %s, %s FROM organizations "
                        "ON CONFLICT DO NOTHING",
                        (name, json.dumps(value)),
                    )
        finally:
            connection.close()

    def decide(self, execution_id: str, left: dict[str, Any]) -> None:
        """Answer the approvals of an execution as they are asked for, until it ends.

        :param left: Step -> ``{decision, comment?, by?}``.
        """

        def ended() -> bool:
            execution = self.http.get(f"/api/v1/executions/{execution_id}").json()
            for step in execution["steps"]:
                if step["status"] == "running" and step["approval_id"] and step["id"] in left:
                    decided = left.pop(step["id"])
                    body = {name: value for name, value in decided.items() if value is not None and name != "at"}
                    answer = self.http.post(f"/api/v1/approvals/{step['approval_id']}/decision", json=body)
                    assert answer.is_success, answer.text
            return execution["status"] not in ("pending", "running")

        self.until(ended, 120)

    def until(self, condition: Callable[[], bool], seconds: float = 180.0) -> None:
        """Wait until something is true that no event tells."""
        until(condition, seconds)

    def airflow_has(self, dag_id: str, digest: str) -> bool:
        """Tell whether Airflow has loaded a published version."""
        response = self.airflow.get(f"/api/v2/dags/{dag_id}")
        return response.is_success and f"plan:{digest[:12]}" in [tag["name"] for tag in response.json()["tags"]]

    def airflow_run_state(self, dag_id: str, run_id: str) -> str:
        """Return Airflow's state of a run, once it is an end state."""
        state = ""

        def ended() -> bool:
            nonlocal state
            response = self.airflow.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")
            assert response.is_success, response.text
            state = response.json()["state"]
            return state in ("success", "failed")

        self.until(ended)
        return state


@contextmanager
def airflow_client(home: Home) -> Iterator[httpx.Client]:
    """A client of a running platform's Airflow, signed in."""
    state = home.read_state()
    account = {"username": state["airflow_username"], "password": state["airflow_password"]}
    token = httpx.post(f"{home.airflow_url}/auth/token", json=account, timeout=60).raise_for_status().json()
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    with httpx.Client(base_url=home.airflow_url, headers=headers, timeout=60) as airflow:
        yield airflow
