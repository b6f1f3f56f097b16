"""The migration to agents with drafts and back, with rows of two organisations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.agents.designing import AGENTS, furnish_neighbour, make_agent
from tests.api.control_plane import ControlPlane, workflow
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform

REVISION = "0015"
NEW = {"description", "created_by", "updated_at", "archived_at", "source_digest", "restored_from"}


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.fixture
def connection(owner_url: URL) -> Iterator[Connection]:
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def shape(connection: Connection) -> list[Any]:
    """Return columns, constraints and indexes."""
    queries = (
        "SELECT table_name, column_name, data_type, is_nullable, coalesce(column_default, generation_expression)"
        " FROM information_schema.columns WHERE table_schema = 'public'",
        "SELECT CAST(conrelid AS regclass)::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    )
    return sorted(repr(tuple(row)) for query in queries for row in connection.execute(text(query)))


def versions(connection: Connection) -> list[Any]:
    """Return what every version had before the migration too."""
    query = (
        "SELECT organization_id, id, agent_id, number, label, encode(source, 'hex'), plan_digest FROM workflow_versions"
    )
    return sorted(repr(tuple(row)) for row in connection.execute(text(query)))


async def test_both_ways_with_rows(control_plane: ControlPlane, owner_url: URL, connection: Connection) -> None:
    theirs = await furnish_neighbour(control_plane)
    archived, open_one = await make_agent(control_plane), await make_agent(control_plane, workflow(id="draft"))
    await archived.publish()
    assert (await archived.post("archive")).status_code == 200
    assert (await archived.put(workflow(name="Newer"))).status_code == 200
    before, stored = shape(connection), versions(connection)
    assert len(stored) == 2

    go_back_before(owner_url, REVISION)
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name IN ('agents', 'workflow_versions')"
    assert not NEW & set(connection.scalars(text(columns)))
    assert connection.scalar(text("SELECT to_regclass('agent_workflows')")) is None
    assert versions(connection) == stored
    # An agent without a version was not possible then.
    left = {str(each) for each in connection.scalars(text("SELECT id FROM agents"))}
    assert left == {theirs.id, archived.id}

    migrate(owner_url)
    assert shape(connection) == before
    assert versions(connection) == stored
    shown = await archived.show()
    assert (shown["status"], shown["version"], shown["draft"]["changed"]) == ("deployed", 1, False)
    draft = (await control_plane.api.get(f"{archived.url}/workflow")).json()
    assert draft["workflow"]["name"] == "Greeter"
    assert (await control_plane.api.get(open_one.url)).status_code == 404
    assert len((await control_plane.api.get(AGENTS)).json()["agents"]) == 1
