"""The job ``retention``: exactly what is old goes, and nobody waits for it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from api.upkeep.partitions import service
from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import EXECUTIONS, STEPS, PartitionRepository
from api.upkeep.partitions.service import make_partitions
from api.upkeep.repository import trusted_now
from api.upkeep.retention import service as retention
from api.upkeep.retention.service import keep_retention
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane
from tests.api.upkeep.conftest import DAY, NOW, NOWHERE, Age, partitions_of, where

pytestmark = pytest.mark.platform

OLD = datetime.fromisoformat("2031-01-10T00:00:00Z")
"""In a month that is over for longer than the 90 days that executions are kept."""
JANUARY, FEBRUARY, MARCH = Month(2031, 1), Month(2031, 2), Month(2031, 3)


@pytest.fixture
async def with_partitions(tools: Tools) -> None:
    for month in (JANUARY, FEBRUARY, MARCH):
        await make_partitions(tools, month.start)


async def months(tools: Tools, table: str) -> set[Month]:
    async with tools.database.system() as session:
        return await PartitionRepository(session).months(table)


@pytest.mark.usefixtures("with_partitions")
class TestExecutions:
    async def test_old_months_go_as_a_whole(self, control_plane: ControlPlane, tools: Tools, executed_at: Age) -> None:
        old = [await executed_at(OLD + number * DAY, OLD + (number + 1) * DAY) for number in range(3)]
        # 19 February is 90 days before; its month is not over for so long.
        younger = await executed_at(FEBRUARY.start, FEBRUARY.start + DAY)
        counts = await keep_retention(tools, NOW)
        assert (counts["executions"], counts["months_kept"], counts["postponed"]) == (3, 0, 0)
        for execution_id in old:
            assert await where(control_plane, execution_id) == NOWHERE
            assert (await control_plane.api.get(f"/api/v1/executions/{execution_id}")).status_code == 404
        assert await where(control_plane, younger) == partitions_of(FEBRUARY)
        for table in (EXECUTIONS, STEPS):
            left = await months(tools, table)
            assert JANUARY not in left
            assert {FEBRUARY, MARCH} <= left
        again = await keep_retention(tools, NOW)
        assert set(again.values()) == {0}

    @pytest.mark.parametrize("ended", [None, NOW - 89 * DAY], ids=["unfinished", "ended lately"])
    async def test_a_month_with_an_execution_to_keep_stays(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, ended: datetime | None
    ) -> None:
        kept = await executed_at(OLD, ended)
        beside = await executed_at(OLD, OLD + DAY)
        counts = await keep_retention(tools, NOW)
        assert counts["months_kept"] == 1
        for execution_id in (kept, beside):
            assert await where(control_plane, execution_id) == partitions_of(JANUARY)
        shown = await control_plane.show(str(kept))
        assert {step["status"] for step in shown["steps"]} == {"success"}

    async def test_one_that_begins_again_meanwhile_is_kept(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was over at the first look and is not under the lock."""
        reopened = await executed_at(OLD, None)

        async def is_over(*_: object) -> bool:
            return True

        monkeypatch.setattr(PartitionRepository, "is_over", is_over)
        assert (await keep_retention(tools, NOW))["months_kept"] == 1
        assert await where(control_plane, reopened) == partitions_of(JANUARY)

    async def test_in_many_batches(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 2)
        for _ in range(5):
            await executed_at(OLD, OLD)
        counts = await keep_retention(tools, NOW)
        assert counts["executions"] == 5
        assert JANUARY not in await months(tools, EXECUTIONS)

    async def test_a_writer_is_not_waited_for_and_not_stopped(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "ATTEMPTS", 1)
        old, other = await executed_at(OLD, OLD + DAY), await executed_at(NOW, None)
        async with tools.database.system() as writer:
            await writer.execute(text("UPDATE workflow_executions SET halted = true WHERE id = :id"), {"id": other})
            assert (await keep_retention(tools, NOW))["postponed"] >= 1
        assert await where(control_plane, old) == partitions_of(JANUARY)
        assert (await keep_retention(tools, NOW))["executions"] == 1
        assert await where(control_plane, old) == NOWHERE

    async def test_work_goes_on_beside_it(self, control_plane: ControlPlane, tools: Tools, executed_at: Age) -> None:
        for number in range(20):
            await executed_at(OLD + number * timedelta(minutes=1), OLD + DAY)
        done = asyncio.Event()

        async def work() -> int:
            count = 0
            while not done.is_set():
                await executed_at(NOW, NOW)
                count += 1
            return count

        worker = asyncio.create_task(work())
        counts = await keep_retention(tools, NOW)
        done.set()
        made = await worker
        assert counts["postponed"] == 0
        assert JANUARY not in await months(tools, EXECUTIONS)
        async with tools.database.system() as session:
            assert await session.scalar(text("SELECT count(*) FROM execution_steps")) == 2 * made

    async def test_old_ones_without_a_partition(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age
    ) -> None:
        long_ago = NOW - 3000 * DAY
        old, kept = await executed_at(long_ago, long_ago), await executed_at(long_ago, None)
        assert (await keep_retention(tools, NOW))["executions"] == 1
        assert await where(control_plane, old) == NOWHERE
        assert await where(control_plane, kept) == partitions_of(None)


class TestRows:
    async def test_by_age(self, control_plane: ControlPlane, tools: Tools, executed_at: Age) -> None:
        settings, an_hour = tools.settings, timedelta(hours=1)
        execution_id = await executed_at(NOW, None)
        ages = {
            "received_events": DAY,
            "prepared_inputs": settings.input_retention_days * DAY,
            "dead_outbox_entries": settings.outbox_retention_days * DAY,
            "idempotency_keys": timedelta(),
        }
        async with tools.database.system() as session:
            for number, sign in enumerate((-1, 1)):
                since = {name: NOW - age + sign * an_hour for name, age in ages.items()}
                await self.insert(session, number, execution_id, since)
        counts = await keep_retention(tools, NOW)
        assert {name: counts[name] for name in ages} == dict.fromkeys(ages, 1)
        async with tools.database.system() as session:
            assert list(await session.scalars(text("SELECT id FROM received_events"))) == ["1"]
            assert await session.scalar(text("SELECT CAST(input AS text) FROM prepared_inputs")) == "1"
            # The order that is not dead is as old as nothing else, and stays.
            kinds = await session.scalars(text("SELECT kind FROM outbox ORDER BY id"))
            assert list(kinds) == ["start", "dead1"]
            assert list(await session.scalars(text("SELECT key FROM idempotency_keys"))) == ["1"]

    async def insert(self, session: object, number: int, execution_id: UUID, since: dict[str, datetime]) -> None:
        values = {"id": str(number), "execution": execution_id, "kind": f"dead{number}"}
        statements = {
            "received_events": "INSERT INTO received_events (organization_id, source, id, type, received_at)"
            " SELECT organization_id, 'here', :id, 'made', :since FROM agents",
            "prepared_inputs": "INSERT INTO prepared_inputs (organization_id, agent_id, input, created_at)"
            " SELECT organization_id, id, CAST(:id AS json), :since FROM agents",
            "dead_outbox_entries": "INSERT INTO outbox"
            " (organization_id, execution_id, agent_id, dag_id, kind, dead, buried_at)"
            " SELECT organization_id, :execution, id, 'dag', :kind, true, :since FROM agents",
            "idempotency_keys": "INSERT INTO idempotency_keys (organization_id, scope, key, digest, expires_at)"
            " SELECT organization_id, 'execute', :id, '', :since FROM agents",
        }
        await session.execute(text("UPDATE outbox SET buried_at = '2020-01-01' WHERE NOT dead"))  # type: ignore[attr-defined]
        for name, statement in statements.items():
            used = {key: value for key, value in values.items() if f":{key}" in statement}
            await session.execute(text(statement), used | {"since": since[name]})  # type: ignore[attr-defined]


class TestClock:
    @pytest.mark.parametrize(
        ("before", "trusted"),
        [
            (None, timedelta()),
            (timedelta(hours=-6), timedelta()),
            (timedelta(days=-300), timedelta(days=-298)),
            (timedelta(days=300), timedelta()),
        ],
        ids=["first run", "as always", "leapt ahead, or was off", "set back"],
    )
    async def test_two_days_a_run(self, tools: Tools, before: timedelta | None, trusted: timedelta) -> None:
        async with tools.database.system() as session:
            now = await PartitionRepository(session).now()
            if before is not None:
                statement = text("INSERT INTO upkeep_runs VALUES ('retention', :at), ('other', '2001-01-01')")
                await session.execute(statement, {"at": now + before})
            found = await trusted_now(session, "retention")
            assert timedelta() <= found - (now + trusted) < timedelta(minutes=1)
            again = await trusted_now(session, "retention")
            assert timedelta() <= again - now < timedelta(minutes=1), "the second run believes what the first saw"

    async def test_a_leap_removes_nothing(self, control_plane: ControlPlane, tools: Tools, executed_at: Age) -> None:
        """A clock that is a year ahead for some hours: as for the job, what it finds is a year older than it was."""
        await keep_retention(tools)
        ended = datetime.now(UTC) - timedelta(days=400)
        execution_id = await executed_at(ended, ended)
        async with tools.database.system() as session:
            await session.execute(text("UPDATE upkeep_runs SET began_at = began_at - interval '365 d'"))
        assert (await keep_retention(tools))["executions"] == 0
        assert await where(control_plane, execution_id) != NOWHERE
        assert (await keep_retention(tools))["executions"] == 1


class TestEndpoint:
    async def test_counts(self, control_plane: ControlPlane) -> None:
        answer = await control_plane.runtime.post("/runtime/v1/upkeep/retention")
        assert answer.status_code == 200
        assert answer.json()["counts"].keys() >= {"months_dropped", "executions", "received_events"}
        assert (await control_plane.runtime.post("/runtime/v1/upkeep/partitions")).json()["counts"]["made"] == 0

    async def test_only_for_airflow(self, control_plane: ControlPlane) -> None:
        for client in (control_plane.public, control_plane.api):
            assert (await client.post("/runtime/v1/upkeep/retention")).status_code == 401

    async def test_unknown_job(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.runtime.post("/runtime/v1/upkeep/nothing")).status_code == 404

    async def test_airflows_database_without_its_address(self, control_plane: ControlPlane) -> None:
        answer = await control_plane.runtime.post("/runtime/v1/upkeep/airflow-database")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_possible_here")
        assert "AGENT_FACTORY_AIRFLOW_DATABASE_URL" in answer.json()["detail"]
