"""The job ``partitions``: months are made ahead, rows without a partition of their month get there."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from api.upkeep.partitions import service
from api.upkeep.partitions.months import Month
from api.upkeep.partitions.repository import EXECUTIONS, STEPS, PartitionRepository
from api.upkeep.partitions.service import make_partitions
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane
from tests.api.upkeep.conftest import NOW, Age, partitions_of, where

pytestmark = pytest.mark.platform


async def months(tools: Tools, table: str = EXECUTIONS) -> set[Month]:
    async with tools.database.system() as session:
        return await PartitionRepository(session).months(table)


async def plan_of(tools: Tools, statement: str, **values: Any) -> str:
    async with tools.database.system() as session:
        await session.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        rows = await session.scalars(text(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {statement}"), values)
        return "\n".join(rows)


class TestAhead:
    async def test_the_migration_makes_this_month_and_the_next(self, tools: Tools) -> None:
        async with tools.database.system() as session:
            this = Month.of(await PartitionRepository(session).now())
        for table in (EXECUTIONS, STEPS):
            assert await months(tools, table) == {this.after(count) for count in range(4)}

    async def test_over_months_and_twice(self, tools: Tools) -> None:
        before = await months(tools)
        for passed in range(3):
            now = NOW + timedelta(days=31 * passed)
            made = 4 if passed == 0 else 1
            assert (await make_partitions(tools, now))["made"] == made
            assert (await make_partitions(tools, now))["made"] == 0
        for table in (EXECUTIONS, STEPS):
            assert await months(tools, table) - before == {Month(2031, 5).after(count) for count in range(6)}

    async def test_two_at_once(self, tools: Tools) -> None:
        counts = await asyncio.gather(*(make_partitions(tools, NOW) for _ in range(3)))
        assert Month(2031, 8) in await months(tools)
        assert sum(each["postponed"] for each in counts) == 0

    async def test_new_ids_go_to_this_month(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            this = Month.of(await PartitionRepository(session).now())
            found = await session.scalar(
                text("SELECT CAST(tableoid AS regclass)::text FROM workflow_executions WHERE id = CAST(:id AS uuid)"),
                {"id": execution_id},
            )
        assert found == f"partitions.workflow_executions_{this.name}"


class TestDefault:
    async def test_a_clock_that_jumped_a_year_and_back(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age
    ) -> None:
        made = {month: await executed_at(month.start, None) for month in (Month(2025, 5), Month(2032, 5))}
        shown = {}
        for execution_id in made.values():
            assert await where(control_plane, execution_id) == partitions_of(None)
            shown[execution_id] = await control_plane.show(str(execution_id))
        counts = await make_partitions(tools, NOW)
        assert (counts["executions_moved"], counts["steps_moved"], counts["months_left_in_default"]) == (2, 4, 0)
        for month, execution_id in made.items():
            assert await where(control_plane, execution_id) == partitions_of(month)
            assert await control_plane.show(str(execution_id)) == shown[execution_id]
        assert (await make_partitions(tools, NOW))["executions_moved"] == 0

    async def test_steps_whose_execution_has_its_partition(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age
    ) -> None:
        await make_partitions(tools, NOW)
        async with tools.database.system() as session:
            await PartitionRepository(session).drop(STEPS, Month.of(NOW))
        execution_id = await executed_at(NOW, None)
        assert (await where(control_plane, execution_id))[STEPS] == {"partitions.execution_steps_default"}
        counts = await make_partitions(tools, NOW)
        assert (counts["executions_moved"], counts["steps_moved"]) == (0, 2)
        assert await where(control_plane, execution_id) == partitions_of(Month.of(NOW))

    async def test_too_many_to_move_stay(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "MOVED_AT_ONCE", 2)
        execution_id = await executed_at(NOW, None)
        counts = await make_partitions(tools, NOW)
        assert (counts["made"], counts["months_left_in_default"]) == (3, 1)
        assert await where(control_plane, execution_id) == partitions_of(None)

    async def test_it_waits_for_a_writer_and_not_for_ever(
        self, control_plane: ControlPlane, tools: Tools, executed_at: Age, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(service, "ATTEMPTS", 1)
        execution_id = await executed_at(NOW, None)
        async with tools.database.system() as writer:
            statement = text("UPDATE workflow_executions SET halted = true WHERE id = :id")
            await writer.execute(statement, {"id": execution_id})
            assert (await make_partitions(tools, NOW))["postponed"] == 4
        assert (await make_partitions(tools, NOW))["postponed"] == 0
        assert await where(control_plane, execution_id) == partitions_of(Month.of(NOW))

    async def test_nothing_else_refers_to_what_is_put_back(self, tools: Tools) -> None:
        """Rows that refer to an execution are removed and put back; what referred to those would be lost."""
        async with tools.database.system() as session:
            second = await session.scalars(
                text(
                    "SELECT CAST(conrelid AS regclass)::text FROM pg_constraint WHERE contype = 'f' AND confrelid IN"
                    " (SELECT conrelid FROM pg_constraint"
                    "  WHERE contype = 'f' AND confrelid = 'workflow_executions'::regclass)"
                )
            )
            assert list(second) == []


class TestPlans:
    @pytest.fixture
    async def execution_id(self, tools: Tools, executed_at: Age) -> Any:
        made = await executed_at(NOW, None)
        await make_partitions(tools, NOW)
        return made

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT * FROM workflow_executions WHERE id = :id FOR UPDATE",
            "SELECT * FROM execution_steps s JOIN workflow_executions e"
            " ON e.id = s.execution_id AND e.organization_id = s.organization_id"
            " WHERE e.id = :id AND s.execution_id = :id",
        ],
        ids=["execution", "journal"],
    )
    async def test_by_id_one_month_is_read(self, tools: Tools, execution_id: Any, statement: str) -> None:
        plan = await plan_of(tools, statement, id=execution_id)
        assert f"_{Month.of(NOW).name}" in plan
        others = await months(tools) - {Month.of(NOW)}
        assert not [month for month in others if month.name in plan], plan

    @pytest.mark.parametrize(
        "condition",
        [
            "agent_id = CAST(:id AS uuid) ORDER BY accepted_at DESC LIMIT 10",
            "agent_id = CAST(:id AS uuid) AND concurrency_key = '' AND completed_at IS NULL",
            "parent_execution_id = CAST(:id AS uuid)",
            "caller = CAST(CAST(:id AS uuid) AS text)",
        ],
        ids=["of a workflow", "unfinished", "children", "caller"],
    )
    async def test_others_use_an_index_of_each_partition(self, tools: Tools, execution_id: Any, condition: str) -> None:
        statement = f"SELECT id FROM workflow_executions WHERE organization_id = CAST(:id AS uuid) AND {condition}"
        plan = await plan_of(tools, statement, id=execution_id)
        assert "Seq Scan" not in plan, plan
