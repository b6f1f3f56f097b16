"""A database that cannot do what it is asked for, by no fault of the request."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from tests.api.control_plane import WORKFLOW_ID, ControlPlane

pytestmark = pytest.mark.platform

FAILS = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE SQLSTATE '{}'; END $$"
ON_INSERT = "CREATE TRIGGER fails BEFORE INSERT ON workflow_executions FOR EACH ROW EXECUTE FUNCTION fail()"


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("53100", (503, "database_unavailable")),
        ("25006", (503, "database_unavailable")),
        ("58030", (503, "database_unavailable")),
        ("22012", (500, "internal_error")),
    ],
    ids=["disk full", "read-only", "input or output", "a defect of ours"],
)
async def test_what_the_caller_hears(
    control_plane: ControlPlane, owner_url: URL, sqlstate: str, expected: tuple[int, str]
) -> None:
    await control_plane.publish()
    engine = create_engine(owner_url)
    with engine.begin() as connection:
        connection.execute(text(FAILS.format(sqlstate)))
        connection.execute(text(ON_INSERT))
    body = {"workflow_id": WORKFLOW_ID, "input": {"name": "Ann"}}
    response = await control_plane.api.post("/api/v1/workflows/execute", json=body)
    assert (response.status_code, response.json()["code"]) == expected
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER fails ON workflow_executions"))
    engine.dispose()
    assert (await control_plane.api.post("/api/v1/workflows/execute", json=body)).status_code == 202
