"""The migration of keys that outlive their executions: back, and forth again."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.control_plane import ControlPlane
from tests.api.migrations.test_agent_designer import shape
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform

ADD = (
    "INSERT INTO idempotency_keys (organization_id, scope, key, digest, execution_id, expires_at)"
    " VALUES (:organization, 'execute', :key, '', :execution, now())"
)


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


async def test_both_ways_with_rows(control_plane: ControlPlane, owner_url: URL) -> None:
    await control_plane.publish()
    there = UUID(await control_plane.execute())
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def add(key: str, execution_id: UUID) -> None:
            values = {"organization": control_plane.organization_id, "key": key, "execution": execution_id}
            connection.execute(text(ADD), values)

        def keys() -> list[Any]:
            return list(connection.scalars(text("SELECT key FROM idempotency_keys ORDER BY key")))

        add("of one that is there", there)
        add("of one that is gone", uuid4())
        before = shape(connection)
        go_back_before(owner_url, "0028")
        assert keys() == ["of one that is there"]
        migrate(owner_url)
        assert (shape(connection), keys()) == (before, ["of one that is there"])
        connection.execute(text("DELETE FROM workflow_executions"))
        assert keys() == ["of one that is there"]
    engine.dispose()
