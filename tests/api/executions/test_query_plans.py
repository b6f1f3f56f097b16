"""Each index of executions has a question that it answers; the plans are those of the statements that the API sends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL

from api.executions.listing.repository import ListingRepository, first_id
from api.executions.listing.schemas import ExecutionFilter
from tests.api.conftest import connected, new_database
from tests.api.control_plane import ControlPlane
from tests.api.filling import copy_workflows, fill, make_months

pytestmark = pytest.mark.platform

NOW = datetime.now(UTC)


@pytest.fixture
def database_url(postgres: Any, template: str) -> Iterator[str]:
    with new_database(postgres, template) as url:
        yield url


@pytest.fixture
async def filled(control_plane: ControlPlane, owner_url: URL) -> ControlPlane:
    """Ten organisations, 2,000 executions of each over a hundred days."""
    await control_plane.publish()

    def put_in() -> None:
        with connected(owner_url.set(drivername="postgresql").render_as_string(hide_password=False)) as cursor:
            make_months(cursor, 5)
            copy_workflows(cursor, 9)
            fill(cursor, each=2_000, days=100, journal=False)

    await asyncio.to_thread(put_in)
    return control_plane


async def plan(plane: ControlPlane, before: UUID | None = None, **asked: Any) -> str:
    """Return the plan of a page, as PostgreSQL makes it for the application: once, for all values. What never ran is
    left out."""
    organization_id = plane.organization_id
    async with plane.database.transaction(organization_id) as session:
        listing = ListingRepository(session, organization_id)
        workflow = asked.get("workflow_id")
        found = await listing.workflow(workflow, asked.get("version")) if workflow else None
        agent_id, version_id = found or (None, None)
        query = listing.query(ExecutionFilter(**asked), agent_id, version_id, before, 51)
        compiled = query.compile(session.bind, compile_kwargs={"render_postcompile": True})
        connection = await (await session.connection()).get_raw_connection()
        driver: Any = connection.driver_connection
        assert await driver.fetchval("SHOW plan_cache_mode") == "force_generic_plan"
        await driver.execute(f"PREPARE asked AS {compiled.string}")
        values = ", ".join(f"'{compiled.params[name]}'" for name in compiled.positiontup or ())
        rows = await driver.fetch(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE asked ({values})")
        await driver.execute("DEALLOCATE asked")
    return "\n".join(line for line in (str(row[0]) for row in rows) if "never executed" not in line)


def months_read(shown: str) -> set[str]:
    return set(re.findall(r"on workflow_executions_(\d{4}_\d{2})", shown))


def month(moment: datetime) -> str:
    return f"{moment:%Y_%m}"


async def full_months(plane: ControlPlane) -> list[str]:
    """Return the months with executions: an empty table is read whole, whatever indexes it has."""
    query = "SELECT DISTINCT to_char(uuid_extract_timestamp(id) AT TIME ZONE 'UTC', 'YYYY_MM') FROM workflow_executions"
    async with plane.database.system() as session:
        return list(await session.scalars(text(query)))


QUESTIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "pkey"),
    ({"workflow_id": "greet"}, "agent_id_id"),
    ({"workflow_id": "greet", "version": 1}, "agent_id_id"),
    ({"status": ["cancelled"]}, "status_id"),
    ({"error_code": "timeout"}, "error_code"),
    ({"parent_execution_id": UUID(int=1)}, "parent"),
]


async def test_plans(filled: ControlPlane) -> None:
    """One test, for filling takes longest."""
    full = await full_months(filled)
    assert len(full) >= 4
    for asked, index in QUESTIONS:
        shown = await plan(filled, **asked)
        assert not re.search(rf"Seq Scan on workflow_executions_({'|'.join(full)})", shown), (asked, shown)
        assert index in shown, (asked, shown)

    since, until = NOW - timedelta(days=63), NOW - timedelta(days=62)
    shown = await plan(filled, accepted_from=since, accepted_before=until)
    assert months_read(shown), shown
    assert months_read(shown) <= {month(since - timedelta(hours=1)), month(until + timedelta(hours=1))}, shown
    shown = await plan(filled, before=first_id(until))
    assert max(months_read(shown)) <= month(until), shown

    # The endpoint answers from the same statement.
    response = await filled.api.get("/api/v1/executions", params={"status": "cancelled", "limit": 200})
    assert len(response.json()["executions"]) == 20
