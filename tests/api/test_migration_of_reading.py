"""The migration of lists and variables, with rows, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.control_plane import ControlPlane
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.fixture
def connection(owner_url: URL) -> Iterator[Connection]:
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


async def test_there_and_back(control_plane: ControlPlane, owner_url: URL, connection: Connection) -> None:
    await control_plane.publish()
    ids = [await control_plane.execute() for _ in range(4)]
    await control_plane.api.put("/api/v1/variables/region", json={"value": "eu"})
    await control_plane.api.put("/api/v1/variables/empty", json={"value": None})
    await control_plane.api.put("/api/v1/variables/region?environment=staging", json={"value": "us"})

    go_back_before(owner_url, "0012")
    rows = connection.execute(text("SELECT name, CAST(value AS text) FROM variables ORDER BY name")).all()
    assert [tuple(row) for row in rows] == [("empty", "null"), ("region", '"eu"')]
    changes = {
        ids[0]: ('{"type": "schedule"}', '{"code": "timeout", "message": "late"}'),
        ids[1]: (r'{"type": "webhook", "headers": {"x": "\u0000", "type": "no"}}', None),
        ids[2]: (r'{"type": "event", "event": {"x": "\u0000"}}', r'{"code": "http_error", "message": "\u0000"}'),
        ids[3]: ("{}", None),
    }
    for execution_id, (trigger, error) in changes.items():
        statement = text("UPDATE workflow_executions SET trigger = :trigger, error = :error WHERE id = :id")
        connection.execute(statement, {"trigger": trigger, "error": error, "id": execution_id})

    migrate(owner_url, "head")
    query = "SELECT CAST(id AS text), trigger_type, error_code, environment FROM workflow_executions"
    found = {row[0]: tuple(row[1:]) for row in connection.execute(text(query))}
    assert found == {
        ids[0]: ("schedule", "timeout", "default"),
        ids[1]: ("webhook", None, "default"),
        ids[2]: ("event", "http_error", "default"),
        ids[3]: ("manual", None, "default"),
    }
