"""Deleting an organisation: ordered by an owner, called off or done, with nothing left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.deletion import job
from api.deletion.job import SETTLING, delete_organizations
from api.namespaces import jobs
from api.namespaces.cluster import NamespaceError
from api.relay.airflow import AirflowClient
from api.settings import Settings
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane, workflow
from tests.api.furnishing import furnish
from tests.api.identity.people import People
from tests.api.relay.test_limits import airflow  # noqa: F401  fixture
from tests.api.relay.test_relay import DAG_ID
from tests.api.test_row_security import TENANTS
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

PATH = "/api/v1/organizations/theirs/deletion"
CONFIRMED = {"confirm": "theirs"}
DAG = DAG_ID.replace("default", "theirs")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32), "organization_deletion_days": 0})


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    return People(control_plane)


@pytest.fixture
async def tools(control_plane: ControlPlane, airflow: AirflowStub) -> AsyncIterator[Tools]:  # noqa: F811
    """What upkeep works with, and a stand-in for Airflow's API."""
    state = control_plane.app.state
    settings = state.settings.model_copy(update={"airflow_password": SecretStr("secret")})
    client = AirflowClient(settings, transport=httpx.ASGITransport(airflow.app()))
    yield Tools(settings, state.database, client, state.plans)
    await client.close()


def later() -> datetime:
    return datetime.now(UTC) + SETTLING + timedelta(minutes=1)


async def dump(people: People, *, but: str) -> dict[str, list[str]]:
    """Return every row of every table that does not name an organisation, by table."""
    found = {}
    query = "SELECT coalesce(json_agg(CAST(to_jsonb(t) AS text) ORDER BY CAST(to_jsonb(t) AS text)), '[]') FROM {} t"
    for schema, name in await tables(people):
        rows = await people.sql(query.format(f'"{schema}"."{name}"'))
        found[name] = [row for row in rows if but not in row]
    return found


async def tables(people: People) -> list[tuple[str, str]]:
    """Return every table there is, also those that no code of ours knows."""
    rows: list[list[str]] = await people.sql(
        "SELECT json_agg(json_build_array(table_schema, table_name) ORDER BY 1) FROM information_schema.tables"
        " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
    )
    return [(row[0], row[1]) for row in rows]


async def naming(people: People, *words: str) -> dict[str, int]:
    """Return in how many rows of each table one of the words is."""
    found = {}
    for schema, name in await tables(people):
        for word in words:
            query = f'SELECT count(*) FROM "{schema}"."{name}" t WHERE CAST(to_jsonb(t) AS text) LIKE :word'
            if count := await people.sql(query, word=f"%{word}%"):
                found[name] = count
    return found


class TestOrder:
    async def test_anonymous_and_others(self, control_plane: ControlPlane, people: People) -> None:
        assert (await control_plane.public.post(PATH, json=CONFIRMED)).status_code == 401
        lead = await people.client("team_lead", "theirs")
        assert (await lead.post(PATH, json=CONFIRMED)).status_code == 403
        other = await people.client("organization_owner", "acme")
        assert (await other.post(PATH, json=CONFIRMED)).status_code == 404
        assert await people.sql("SELECT count(*) FROM organizations WHERE deletion_due_at IS NOT NULL") == 0

    async def test_by_a_key(self, people: People) -> None:
        owner = await people.client("organization_owner", "theirs")
        order = {"name": "K", "permissions": ["org:*"], "expires_at": None}
        key = (await owner.post("/api/v1/api-keys", json=order)).json()["key"]
        answer = await people.with_token(key).post(PATH, json=CONFIRMED)
        assert (answer.status_code, answer.json()["code"]) == (403, "login_needed")

    async def test_confirmed_by_name(self, people: People) -> None:
        owner = await people.client("organization_owner", "theirs")
        answer = await owner.post(PATH, json={"confirm": "other"})
        assert (answer.status_code, answer.json()["code"]) == (422, "not_confirmed")
        assert (await owner.get(PATH)).status_code == 404

    async def test_ordered_and_called_off(self, people: People, tools: Tools, control_plane: ControlPlane) -> None:
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"organization_deletion_days": 14})
        owner = await people.client("organization_owner", "theirs")
        ordered = await owner.post(PATH, json=CONFIRMED)
        assert ordered.status_code == 202
        assert (await owner.post(PATH, json=CONFIRMED)).json() == ordered.json() == (await owner.get(PATH)).json()
        # The days of grace: nothing happens.
        counts = await delete_organizations(tools, datetime.now(UTC) + timedelta(days=13))
        assert set(counts.values()) == {0}
        assert (await owner.delete(PATH)).status_code == 204
        assert (await owner.delete(PATH)).status_code == 404
        counts = await delete_organizations(tools, datetime.now(UTC) + timedelta(days=15))
        assert set(counts.values()) == {0}
        assert (await owner.get("/api/v1/auth/me")).status_code == 200

    async def test_the_operated_one_stays(self, control_plane: ControlPlane) -> None:
        answer = await control_plane.api.post("/api/v1/organizations/default/deletion", json={"confirm": "default"})
        assert (answer.status_code, answer.json()["code"]) == (409, "organization_operated")

    async def test_too_late(self, people: People, tools: Tools) -> None:
        owner = await people.client("organization_owner", "theirs")
        assert (await owner.post(PATH, json=CONFIRMED)).status_code == 202
        await people.sql("UPDATE organizations SET deletion_began_at = now() WHERE slug = 'theirs'")
        answer = await owner.delete(PATH)
        assert (answer.status_code, answer.json()["code"]) == (409, "deletion_began")


class TestNothingIsLeft:
    async def test_in_any_table(self, control_plane: ControlPlane, people: People, tools: Tools) -> None:
        """Every table of tenants is filled for two organisations; of one nothing is left, the other is as it was."""
        async with control_plane.database.system() as session:
            ours, theirs = await furnish(session, "ours"), await furnish(session, "theirs")
            for table, column in TENANTS.items():
                owners = set(await session.scalars(text(f"SELECT {column} FROM {table}")))
                assert {ours, theirs} <= owners, f"{table} must be filled for this test to tell anything"
            await session.execute(
                text("UPDATE workflow_executions SET status = 'success', completed_at = now(), started_at = now()")
            )
        control_plane.act_for(theirs)
        await order(people, theirs)
        assert set(await naming(people, str(theirs))) >= TENANTS.keys()
        before = await dump(people, but=str(theirs))
        counts = await delete_organizations(tools, datetime.now(UTC))
        assert counts["organizations_closed"] == 1
        assert (await delete_organizations(tools, datetime.now(UTC)))["organizations_deleted"] == 0
        counts = await delete_organizations(tools, later())
        assert (counts["organizations_deleted"], counts["deletions_postponed"]) == (1, 0)
        assert await naming(people, str(theirs), "theirs") == {"platform_audit_log": 1}
        after = await dump(people, but=str(theirs))
        # Numbers of releases are of all together.
        del before["releases"], after["releases"]
        assert after == before
        tombstone = "SELECT json_build_array(actor, action, resource, after IS NOT NULL) FROM platform_audit_log"
        assert await people.sql(tombstone) == ["operator", "organization.delete", f"organizations/{theirs}", True]

    async def test_the_audit_log_of_one_that_stays_is_not_emptied(self, people: People) -> None:
        organization_id = await people.organization("theirs")
        with pytest.raises(Exception, match="until the deletion"):
            await people.sql("SELECT governance.forget_audit(:org, 10)", org=organization_id)


async def order(people: People, organization_id: UUID) -> None:
    """Have an organisation deleted, as its owner's order does."""
    await people.sql("UPDATE organizations SET deletion_due_at = now() WHERE id = :id", id=organization_id)


class Cluster:
    """Stands for the organisations' namespaces, of which each takes its time to go."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def remove(self, organization: str) -> None:
        """Remove one: it is gone at the second time."""
        self.asked.append(organization)
        if len(self.asked) == 1:
            raise NamespaceError("it is being removed")


class TestNamespace:
    async def test_goes_before_the_rest(self, people: People, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
        cluster = Cluster()
        monkeypatch.setattr(job, "open_namespaces", lambda settings: cluster)
        changes = {"isolation": "kubernetes", "kubernetes_config": "in-cluster"}
        tools = replace(tools, settings=tools.settings.model_copy(update=changes))
        theirs = await people.organization("theirs")
        await order(people, theirs)
        await delete_organizations(tools, datetime.now(UTC))
        assert cluster.asked == []
        assert "theirs" not in await jobs._organizations(tools)
        assert (await delete_organizations(tools, later()))["deletions_postponed"] == 1
        assert await people.sql("SELECT count(*) FROM organizations WHERE id = :id", id=theirs) == 1
        assert (await delete_organizations(tools, later()))["organizations_deleted"] == 1
        assert cluster.asked == ["theirs", "theirs"]


class TestDoorsAndAirflow:
    @pytest.fixture
    async def published(self, control_plane: ControlPlane, people: People, airflow: AirflowStub) -> tuple[Any, str]:  # noqa: F811
        """An owner, and an execution of theirs that waits for Airflow."""
        owner = await people.client("organization_owner", "theirs")
        made = (await owner.post("/api/v1/workflows/greet/publish", json=workflow())).json()
        airflow.publish(DAG, made["digest"])
        started = {"workflow_id": "greet", "input": {"name": "Ann"}}
        return owner, (await owner.post("/api/v1/workflows/execute", json=started)).json()["execution_id"]

    async def test_closed_then_gone(
        self,
        control_plane: ControlPlane,
        published: tuple[Any, str],
        people: People,
        tools: Tools,
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        owner, execution_id = published
        names = [file["name"] for file in (await control_plane.runtime.get("/runtime/v1/release")).json()["artifacts"]]
        assert f"{DAG}.py" in names
        assert (await owner.post(PATH, json=CONFIRMED)).status_code == 202
        assert (await delete_organizations(tools, datetime.now(UTC)))["organizations_closed"] == 1
        assert (await owner.get("/api/v1/auth/me")).status_code == 401
        assert (await control_plane.public.post("/webhook/theirs/greet", json={"name": "A"})).status_code == 404
        query = "SELECT status FROM workflow_executions WHERE id = :id"
        assert await people.sql(query, id=UUID(execution_id)) == "cancelled"
        assert (await control_plane.runtime.get("/runtime/v1/release")).json()["artifacts"] == []
        assert DAG in airflow.tags
        counts = await delete_organizations(tools, later())
        assert counts["organizations_deleted"] == 1
        assert DAG not in airflow.tags
        assert await naming(people, "theirs") == {"users": 1}

    async def test_while_airflow_is_away_it_waits(
        self,
        published: tuple[Any, str],
        people: People,
        tools: Tools,
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        owner, _ = published
        assert (await owner.post(PATH, json=CONFIRMED)).status_code == 202
        await delete_organizations(tools, datetime.now(UTC))
        airflow.away = 503
        counts = await delete_organizations(tools, later())
        assert (counts["organizations_deleted"], counts["deletions_postponed"]) == (0, 1)
        assert await people.sql("SELECT count(*) FROM workflow_versions") == 1
        airflow.away = None
        assert (await delete_organizations(tools, later()))["organizations_deleted"] == 1
