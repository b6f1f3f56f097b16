"""Relays killed at any moment, also between Airflow's answer and their commit: no execution is lost, none starts twice.

``AGENT_FACTORY_SOAK_TRIGGERS`` sets how many executions there are; ``make soak`` takes 10,000.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.relay.test_relay import DAG_ID
from tests.stubs.airflow_process import Killing, serve
from tests.stubs.airflow_server import AirflowStub

pytestmark = [pytest.mark.platform, pytest.mark.timeout(3600)]

TRIGGERS = int(os.environ.get("AGENT_FACTORY_SOAK_TRIGGERS", "300"))
KILLS = 8 if TRIGGERS <= 300 else 60
"""So many relays are killed: at requests, for at fixed times a slow machine would kill them as they start."""
SEED = 20261124
HOLD_SECONDS = 2.0
BATCHES = 5

COPY = text(
    """
    WITH copies AS (
        INSERT INTO workflow_executions (organization_id, agent_id, version_id, trigger, input, concurrency_key)
        SELECT organization_id, agent_id, version_id, trigger, input, concurrency_key
        FROM workflow_executions, generate_series(1, :count) WHERE id = :first
        RETURNING organization_id, id, agent_id
    )
    INSERT INTO outbox (organization_id, execution_id, agent_id, dag_id)
    SELECT organization_id, id, agent_id, :dag_id FROM copies
    """
)


class RelayProcesses:
    """Relays in processes of their own; one that is killed is started again."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        self._settings = settings
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.names = names
        self.url = ""
        self.starts = 0

    def kill(self, name: str) -> None:
        """Kill a relay at once, as a machine does that loses its power."""
        if name in self._processes:
            self._processes[name].send_signal(signal.SIGKILL)

    def start_dead(self) -> None:
        """Start the relays that do not run."""
        for name in self.names:
            if name not in self._processes or self._processes[name].poll() is not None:
                self._processes[name] = subprocess.Popen([sys.executable, "-m", "api.relay"], env=self._env(name))
                self.starts += 1

    def stop(self) -> None:
        """End them all."""
        for process in self._processes.values():
            process.kill()
            process.wait()

    def _env(self, name: str) -> dict[str, str]:
        values = {
            "DATABASE_URL": self._settings.database_url,
            "API_TOKEN": "x",
            "RUNTIME_TOKEN": "x",
            "AIRFLOW_URL": f"{self.url}/{name}",
            "AIRFLOW_PASSWORD": "secret",
            "DATABASE_POOL_SIZE": "5",
            "RELAY_POLL_SECONDS": "0.2",
            "RELAY_HOLD_SECONDS": str(HOLD_SECONDS),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
        return inherited | {f"AGENT_FACTORY_{name}": value for name, value in values.items()}


@asynccontextmanager
async def killed_relays(
    settings: Settings, airflow: AirflowStub, seed: int
) -> AsyncIterator[tuple[RelayProcesses, Killing]]:
    """Run two relays for the block, which are killed again and again."""
    relays = RelayProcesses(settings, ["first", "second"])
    killing = Killing(relays.kill, seed, requests=TRIGGERS, count=KILLS, slow_seconds=0.02)

    async def start_dead() -> None:
        while True:
            relays.start_dead()
            await asyncio.sleep(0.05)

    async with serve(airflow, killing) as relays.url:
        task = asyncio.create_task(start_dead())
        try:
            yield relays, killing
        finally:
            task.cancel()
            relays.stop()


async def test_none_lost_and_none_twice(control_plane: ControlPlane, settings: Settings) -> None:
    print(f"seed {SEED}")
    airflow = AirflowStub()
    airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
    first = await control_plane.execute()
    async with killed_relays(settings, airflow, SEED) as (relays, killing):
        for batch in range(BATCHES):
            count = (TRIGGERS - 1) // BATCHES + (batch < (TRIGGERS - 1) % BATCHES)
            async with control_plane.database.system() as session:
                await session.execute(COPY, {"count": count, "first": first, "dag_id": DAG_ID})
                await session.execute(text("SELECT pg_notify('agent_factory_outbox', '')"))
        while await left(control_plane):
            await asyncio.sleep(0.1)
    async with control_plane.database.system() as session:
        expected = {str(row.id) for row in await session.execute(text("SELECT id FROM workflow_executions"))}
        statuses = set(await session.scalars(text("SELECT DISTINCT status FROM workflow_executions")))
    print(f"{len(expected)} executions, {relays.starts} relays, kills {dict(killing.kills)}, posts {airflow.posts}")
    assert len(expected) == TRIGGERS
    assert set(airflow.runs[DAG_ID]) == expected
    assert airflow.posts["made"] == TRIGGERS
    assert statuses == {"pending"}
    # It proves nothing unless runs were made whose relay died before it knew.
    assert killing.kills.total() == KILLS
    assert airflow.posts["there already"] > 0


async def left(plane: ControlPlane) -> int:
    """Return how many outbox entries there are."""
    async with plane.database.system() as session:
        return await session.scalar(text("SELECT count(*) FROM outbox")) or 0
