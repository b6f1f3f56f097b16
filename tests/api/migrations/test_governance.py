"""The migrations of the audit log, of logins by a provider, of retention and deletion: back, and forth again."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from api.migrate import migrate
from tests.api.control_plane import ControlPlane
from tests.api.migrations.test_agent_designer import shape
from tests.api.revisions import go_back_before

pytestmark = pytest.mark.platform

GRANTS = (
    "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants"
    " WHERE table_schema = 'public' AND grantee LIKE 'agent_factory_%' ORDER BY 1, 2, 3"
)


@pytest.fixture
def database_url(fresh_database_url: str) -> str:
    return fresh_database_url


async def test_both_ways_with_rows(control_plane: ControlPlane, owner_url: URL) -> None:
    assert (await control_plane.api.put("/api/v1/variables/v", json={"value": 1})).status_code == 201
    engine = create_engine(owner_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:

        def seen() -> list[Any]:
            return [shape(connection), connection.execute(text(GRANTS)).all()]

        before = seen()
        go_back_before(owner_url, "0019")
        for name in ("audit_log", "platform_audit_log", "oidc_flows"):
            assert connection.scalar(text(f"SELECT to_regclass('{name}')")) is None
        assert connection.scalar(text("SELECT count(*) FROM pg_namespace WHERE nspname = 'governance'")) == 0
        assert connection.scalar(text("SELECT count(*) FROM variables")) == 1
        migrate(owner_url)
        assert seen() == before
    engine.dispose()
    assert (await control_plane.api.put("/api/v1/variables/v", json={"value": 2})).status_code == 200
    assert len((await control_plane.api.get("/api/v1/audit-log")).json()["entries"]) == 1
