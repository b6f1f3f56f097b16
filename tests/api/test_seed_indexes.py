"""The questions that need an index besides those of executions: each plan is that of the statement that the API sends.

``docs/indexes.md`` says which index stands for which, and why.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession

from api.agents.repository import AgentRepository
from api.audit.repository import AuditRepository
from api.audit.schemas import AuditFilter
from api.database import Database
from api.members.repository import MemberRepository
from api.oidc.repository import IdentityRepository
from tests.api.conftest import connected, new_database
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform

ORGANIZATIONS, EACH = 50, 200
FILL = (
    f"INSERT INTO organizations (slug, name) SELECT 'o' || n, 'o' FROM generate_series(1, {ORGANIZATIONS}) n",
    f"INSERT INTO users (email, name) SELECT 'u' || n || '@x.test', 'u' FROM generate_series(1, {EACH}) n",
    "INSERT INTO memberships (organization_id, user_id, role)"
    " SELECT o.id, u.id, 'viewer' FROM organizations o, users u",
    "INSERT INTO invitations (organization_id, email, role, digest, by_mail, expires_at)"
    " SELECT o.id, o.slug || u.email, 'viewer', sha256(convert_to(o.slug || u.email, 'UTF8')), true,"
    " now() + interval '1 day' FROM organizations o, users u",
    "INSERT INTO agents (organization_id, workflow_id, name, archived_at)"
    " SELECT o.id, 'w' || n, 'w', CASE WHEN n % 10 = 0 THEN now() END"
    f" FROM organizations o, generate_series(1, {EACH}) n",
    "INSERT INTO audit_log (organization_id, actor, action, resource)"
    f" SELECT o.id, 'operator', 'agent.update', 'agents/' || n % 20 FROM organizations o, generate_series(1, {EACH}) n",
    "INSERT INTO agent_workflows (organization_id, agent_id, revision, source)"
    " SELECT organization_id, id, 1, 'x' FROM agents",
)


@pytest.fixture
def database_url(postgres: Any, template: str) -> Iterator[str]:
    with new_database(postgres, template) as url:
        yield url


@pytest.fixture
async def organization_id(control_plane: ControlPlane, admin_of_it: Any) -> UUID:
    """One of many organisations, all with members, agents, invitations and entries."""
    async with control_plane.database.system() as session:
        for statement in FILL:
            await session.execute(text(statement))
    admin_of_it.execute("VACUUM ANALYZE")
    async with control_plane.database.system() as session:
        return (await session.execute(text("SELECT id FROM organizations WHERE slug = 'o7'"))).scalar_one()


@pytest.fixture
def admin_of_it(postgres: Any, database_url: str) -> Iterator[Any]:
    with connected(postgres.url(make_url(database_url).database)) as cursor:
        yield cursor


Ask = Callable[[AsyncSession], Awaitable[Any]]


async def plans(database: Database, ask: Ask, opened: Any) -> str:
    """Return the plans of every statement that a question sends."""
    sent: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        sent.append((statement, parameters))

    async with opened as session:
        event.listen(database.engine.sync_engine, "before_cursor_execute", note)
        try:
            await ask(session)
        finally:
            event.remove(database.engine.sync_engine, "before_cursor_execute", note)
        driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
        shown = [row[0] for statement, values in sent for row in await driver.fetch(f"EXPLAIN {statement}", *values)]
    assert sent
    return "\n".join(shown)


async def test_plans(control_plane: ControlPlane, organization_id: UUID) -> None:
    """One test, for filling takes longest."""
    database = control_plane.database

    def of(make: Callable[[AsyncSession], Awaitable[Any]], *, system: bool = False) -> tuple[Ask, Any]:
        return make, database.system() if system else database.transaction(organization_id)

    questions: dict[str, tuple[tuple[Ask, Any], str, str]] = {
        "agents by status": (
            of(
                lambda session: AgentRepository(session, organization_id).page(
                    search=None, status="draft", before=None, limit=51
                )
            ),
            "(pk|uq)_agents",
            "agents",
        ),
        "members": (of(lambda s: MemberRepository(s, organization_id).list()), "pk_memberships", "memberships"),
        "owners": (
            of(lambda s: MemberRepository(s, organization_id).other_owners(uuid4())),
            "pk_memberships",
            "memberships",
        ),
        "audit log": (
            of(lambda s: AuditRepository(s, organization_id).page(AuditFilter(), None, 51)),
            "pk_audit_log",
            "audit_log",
        ),
        "audit log of a thing": (
            of(lambda s: AuditRepository(s, organization_id).page(AuditFilter(resource="agents/7"), None, 51)),
            "ix_audit_log_organization_id_resource_id",
            "audit_log",
        ),
        "invitations of an address": (
            of(lambda s: IdentityRepository(s).open_invitations("o7u7@x.test"), system=True),
            "ix_invitations_email",
            "invitations",
        ),
    }
    for name, ((ask, opened), index, table) in questions.items():
        shown = await plans(database, ask, opened)
        assert re.search(index, shown), (name, shown)
        assert f"Seq Scan on {table}" not in shown, (name, shown)
