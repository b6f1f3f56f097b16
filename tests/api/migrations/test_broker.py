"""The migration of messages to the broker: back, and forth again."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.control_plane import ControlPlane
from tests.api.migrations.test_agent_designer import shape
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform

ADD = (
    "INSERT INTO webhook_deliveries (organization_id, kind, event_type, url, status)"
    " VALUES (:organization, :kind, 'agent.created', 'x:', 'pending')"
)


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


async def test_both_ways_with_rows(control_plane: ControlPlane, owner_url: URL) -> None:
    async with control_plane.database.transaction(control_plane.organization_id) as session:
        for kind in ("callback", "event", "broker"):
            await session.execute(text(ADD), {"organization": control_plane.organization_id, "kind": kind})
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        kinds = text("SELECT kind FROM webhook_deliveries ORDER BY kind")
        before = shape(connection)
        go_back_before(owner_url, "0025")
        # Who delivered then would have called their address.
        assert connection.scalars(kinds).all() == ["callback", "event"]
        migrate(owner_url)
        assert shape(connection) == before
        assert connection.scalars(kinds).all() == ["callback", "event"]
    engine.dispose()
