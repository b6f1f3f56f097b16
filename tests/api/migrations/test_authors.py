"""The migration of authors of versions: back, and forth again, with what can be known of them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.agents.designing import make_agent
from tests.api.control_plane import ControlPlane, workflow
from tests.api.migrations.test_agent_designer import shape
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


async def test_both_ways_with_rows(control_plane: ControlPlane, owner_url: URL) -> None:
    agent = await make_agent(control_plane)
    await agent.publish()
    assert (await agent.post("reviews", json={})).status_code == 201
    for name in ("Second", "Third"):
        await agent.publish(workflow(name=name))
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def authors() -> list[Any]:
            return list(connection.scalars(text("SELECT authors FROM workflow_versions ORDER BY number")))

        assert authors() == [["operator"]] * 3
        connection.execute(text("UPDATE agent_reviews SET authors = '{ann}'"))
        connection.execute(text("UPDATE agent_workflows SET authors = '{bob}'"))
        connection.execute(text("UPDATE workflow_versions SET created_by = NULL WHERE number = 3"))
        before = shape(connection)
        go_back_before(owner_url, "0029")
        migrate(owner_url)
        assert shape(connection) == before
        assert authors() == [["ann", "operator"], ["operator"], ["bob"]]
    engine.dispose()
