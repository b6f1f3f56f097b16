"""``/health`` and ``/ready``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from api.database import Database
from api.settings import Settings
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform


async def checks_of(control_plane: ControlPlane, status: int) -> dict[str, Any]:
    """What the operator is told; strangers are told nothing of it."""
    response = await control_plane.public.get("/ready")
    assert response.status_code == status
    assert "checks" not in response.json()
    assert response.headers["cache-control"] == "no-store"
    checks: dict[str, Any] = (await control_plane.api.get("/ready")).json()["checks"]
    return checks


def stale(control_plane: ControlPlane) -> None:
    """Have the next question looked at anew."""
    control_plane.app.state.readiness = None


async def test_health(control_plane: ControlPlane) -> None:
    assert (await control_plane.public.get("/health")).json() == {"status": "ok"}


async def test_ready(control_plane: ControlPlane) -> None:
    checks = await checks_of(control_plane, 200)
    assert {name for name, check in checks.items() if check["ok"]} == {"database", "migrations", "listener"}


async def test_airflow_is_only_told_of(control_plane: ControlPlane) -> None:
    airflow = (await checks_of(control_plane, 200))["airflow"]
    assert (airflow["ok"], airflow["counts"]) == (False, False)


@pytest.mark.parametrize("token", ["", "wrong", "runtime-token"])
async def test_details_are_the_operators(control_plane: ControlPlane, token: str) -> None:
    response = await control_plane.public.get("/ready", headers={"authorization": f"Bearer {token}"})
    assert response.json() == {"status": "ready"}


async def test_many_ask_and_one_looks(control_plane: ControlPlane) -> None:
    first = control_plane.app.state
    await asyncio.gather(*(control_plane.public.get("/ready") for _ in range(20)))
    look = first.readiness
    await control_plane.public.get("/ready")
    assert first.readiness is look


class TestSchema:
    @pytest.fixture
    def database_url(self, fresh_database_url: str) -> str:
        return fresh_database_url

    @pytest.mark.parametrize(
        "statement",
        ["UPDATE agent_factory_migrations SET version_num = '0000'", "DROP TABLE agent_factory_migrations"],
    )
    async def test_not_migrated(self, control_plane: ControlPlane, owner_url: URL, statement: str) -> None:
        engine = create_engine(owner_url)
        with engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()
        migrations = (await checks_of(control_plane, 503))["migrations"]
        assert "python -m api.migrate" in migrations["detail"]


async def test_database_away(control_plane: ControlPlane, settings: Settings) -> None:
    state = control_plane.app.state
    real = state.database
    state.database = Database(settings.model_copy(update={"database_url": "postgresql://u:planted@127.0.0.1:9/none"}))
    checks = await checks_of(control_plane, 503)
    assert not checks["database"]["ok"]
    assert "planted" not in str(checks)
    await state.database.close()
    state.database = real


async def test_database_that_hangs(
    control_plane: ControlPlane, owner_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.health import checks

    monkeypatch.setattr(checks, "LOOK_SECONDS", 0.2)
    engine = create_engine(owner_url)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE agent_factory_migrations IN ACCESS EXCLUSIVE MODE"))
        assert not (await checks_of(control_plane, 503))["database"]["ok"]
    engine.dispose()
    stale(control_plane)
    assert (await checks_of(control_plane, 200))["database"]["ok"]


async def test_listener_away(control_plane: ControlPlane) -> None:
    control_plane.app.state.listener.connected.clear()
    assert not (await checks_of(control_plane, 503))["listener"]["ok"]


async def test_relay_of_this_process(control_plane: ControlPlane) -> None:
    state = control_plane.app.state
    state.settings = state.settings.model_copy(update={"relay": True})
    state.relay = asyncio.create_task(asyncio.Event().wait())
    assert (await checks_of(control_plane, 200))["relay"]["ok"]
    state.relay.cancel()
    await asyncio.gather(state.relay, return_exceptions=True)
    stale(control_plane)
    assert not (await checks_of(control_plane, 503))["relay"]["ok"]
