"""What the tests of upkeep share: a database of their own, and executions of any age in it."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from api.upkeep.partitions.months import Month
from api.upkeep.tools import Tools
from operators.execution.records import StepRecord
from tests.api.control_plane import ControlPlane

NOW = datetime(2031, 5, 20, 12, tzinfo=UTC)
"""The time that jobs are told. Far from the real one, so that no partition is there already."""
EPHEMERAL = 80


def id_at(moment: datetime) -> UUID:
    """Return an id that the database could have made at a moment."""
    first = Month.of(moment).first_id.int
    milliseconds = int(moment.timestamp() * 1000)
    random_bits = random.getrandbits(62)
    return UUID(int=(milliseconds << EPHEMERAL) | (first & ((1 << EPHEMERAL) - 1)) | random_bits)


Age = Callable[..., Coroutine[Any, Any, UUID]]


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.fixture
def tools(control_plane: ControlPlane) -> Tools:
    state = control_plane.app.state
    return Tools(state.settings, state.database, state.airflow, state.plans)


@pytest.fixture
async def executed_at(control_plane: ControlPlane) -> Age:
    """Makes an execution that was accepted at a moment, with a journal, a lease and an order to Airflow."""
    digest = (await control_plane.publish())["digest"]

    async def make(accepted: datetime, ended: datetime | None) -> UUID:
        made = id_at(accepted)
        async with control_plane.database.system() as session:
            await session.execute(
                text(
                    "INSERT INTO workflow_executions (organization_id, id, agent_id, version_id, trigger, input,"
                    " accepted_at) SELECT organization_id, :id, agent_id, id, '{}', '{\"name\": \"Ann\"}', :accepted"
                    " FROM workflow_versions"
                ),
                {"id": made, "accepted": accepted},
            )
            await session.execute(
                text(
                    "INSERT INTO outbox (organization_id, execution_id, agent_id, dag_id)"
                    " SELECT organization_id, id, agent_id, 'dag' FROM workflow_executions WHERE id = :id"
                ),
                {"id": made},
            )
        token = (await control_plane.lease(str(made), digest))["token"]
        records = [StepRecord(id=step, status="success", output={"text": step}) for step in ("hello", "bye")]
        await control_plane.journal(str(made), token, *records)
        if ended is not None:
            async with control_plane.database.system() as session:
                await session.execute(
                    text("UPDATE workflow_executions SET status = 'success', completed_at = :ended WHERE id = :id"),
                    {"id": made, "ended": ended},
                )
        return made

    return make


async def where(control_plane: ControlPlane, execution_id: UUID) -> dict[str, set[str]]:
    """Return in which tables the rows of an execution are, by the table that they are read from."""
    columns = {
        "workflow_executions": "id",
        "execution_steps": "execution_id",
        "leases": "execution_id",
        "outbox": "execution_id",
    }
    found = {}
    async with control_plane.database.system() as session:
        for table, column in columns.items():
            query = text(f"SELECT CAST(CAST(tableoid AS regclass) AS text) FROM {table} WHERE {column} = :id")
            found[table] = set(await session.scalars(query, {"id": execution_id}))
    return found


def partitions_of(month: Month | None) -> dict[str, set[str]]:
    """Return what :func:`where` finds for an execution with rows everywhere; None for the default partitions."""
    name = month.name if month else "default"
    return {
        "workflow_executions": {f"partitions.workflow_executions_{name}"},
        "execution_steps": {f"partitions.execution_steps_{name}"},
        "leases": {"leases"},
        "outbox": {"outbox"},
    }


NOWHERE: dict[str, set[str]] = {
    "workflow_executions": set(), "execution_steps": set(), "leases": set(), "outbox": set()
}  # fmt: skip
DAY = timedelta(days=1)
