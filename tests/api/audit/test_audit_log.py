"""The audit log: who did what, seen by owners, changed by nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from api.accounts.operations import Operations
from api.audit.trail import digest
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People

pytestmark = pytest.mark.platform

LOG = "/api/v1/audit-log"
SECRET = "correct-horse-battery-staple"


async def entries(client: Any, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(LOG, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


class TestEntries:
    async def test_of_a_person(self, people: People) -> None:
        owner = await people.client("organization_owner")
        me = (await owner.get("/api/v1/auth/me")).json()["user_id"]
        await owner.put("/api/v1/variables/v", json={"value": {"b": 1, "a": 2}}, headers={"x-request-id": "my-request"})
        [entry] = await entries(owner)
        assert entry.pop("id")
        assert entry.pop("at")
        assert entry == {
            "actor": "user", "user_id": me, "api_key_id": None, "action": "variable.set",
            "resource": "variables/default/v", "before": None, "after": digest([{"a": 2, "b": 1}]).hex(),  # type: ignore[union-attr]
            "address": "127.0.0.1", "request_id": "my-request",
        }  # fmt: skip

    async def test_of_a_key_and_of_the_operator(self, control_plane: ControlPlane, people: People) -> None:
        owner = await people.client("organization_owner")
        order = {"name": "K", "permissions": ["variable:edit"], "expires_at": None}
        key = (await owner.post("/api/v1/api-keys", json=order)).json()
        await people.with_token(key["key"]).put("/api/v1/variables/v", json={"value": 1})
        await control_plane.api.put("/api/v1/variables/v", json={"value": 2})
        operators, keys, _ = await entries(owner)
        assert (operators["actor"], operators["user_id"], operators["api_key_id"]) == ("operator", None, None)
        me = (await owner.get("/api/v1/auth/me")).json()["user_id"]
        assert (keys["actor"], keys["user_id"], keys["api_key_id"]) == ("api_key", me, key["id"])
        assert operators["before"] == keys["after"] != operators["after"]

    async def test_of_the_operators_command(self, control_plane: ControlPlane, people: People) -> None:
        user = await people.user("ann@x.test", "viewer")
        operations = Operations(control_plane.database, control_plane.app.state.settings)
        await operations.set_disabled("ann@x.test", is_disabled=True)
        [line] = await operations.audit_log(10)
        assert line.endswith(f" operator user.disable users/{user}")
        query = "SELECT json_build_array(actor, action, resource, address) FROM platform_audit_log"
        assert await people.sql(query) == ["operator", "user.disable", f"users/{user}", None]

    @pytest.mark.parametrize("name", ["no name of a variable", "s"])
    async def test_nothing_of_what_was_refused(self, control_plane: ControlPlane, name: str) -> None:
        await control_plane.api.put("/api/v1/variables/s", json={"value": SECRET, "secret": True})
        answer = await control_plane.api.put(f"/api/v1/variables/{name}", json={"value": 1})
        assert answer.status_code in (409, 422)
        assert len(await entries(control_plane.api)) == 1

    async def test_no_secret_is_in_it(self, control_plane: ControlPlane, people: People) -> None:
        await control_plane.api.put("/api/v1/variables/s", json={"value": SECRET, "secret": True})
        [entry] = await entries(control_plane.api)
        assert SECRET not in str(entry)
        # Not its digest either, by which a guess could be checked.
        assert entry["after"] not in {digest(each).hex() for each in (SECRET, [SECRET], {"value": SECRET})}  # type: ignore[union-attr]


class TestTogether:
    @pytest.fixture
    def database_url(self, fresh_database_url: str) -> str:
        return fresh_database_url

    @pytest.mark.usefixtures("database_url")
    async def test_no_change_without_its_entry(self, control_plane: ControlPlane, people: People, admin: Any) -> None:
        admin.execute("REVOKE INSERT ON audit_log FROM agent_factory_app")
        answer = await control_plane.api.put("/api/v1/variables/v", json={"value": 1})
        assert answer.status_code == 500
        assert await people.sql("SELECT count(*) FROM variables") == 0


class TestList:
    async def test_who_may(self, control_plane: ControlPlane, people: People) -> None:
        assert (await control_plane.public.get(LOG)).status_code == 401
        for role, status in (("team_lead", 403), ("viewer", 403), ("organization_owner", 200)):
            client = await people.client(role)  # type: ignore[arg-type]
            assert (await client.get(LOG)).status_code == status

    async def test_pages_and_filters(self, control_plane: ControlPlane) -> None:
        for name in "abcde":
            await control_plane.api.put(f"/api/v1/variables/{name}", json={"value": 1})
        await control_plane.api.delete("/api/v1/variables/a")
        seen, cursor = [], None
        while True:
            answer = (
                await control_plane.api.get(LOG, params={"limit": 4} | ({"cursor": cursor} if cursor else {}))
            ).json()
            seen += [entry["resource"][-1] for entry in answer["entries"]]
            cursor = answer["next"]
            if cursor is None:
                break
        assert seen == list("aedcba")
        assert [entry["action"] for entry in await entries(control_plane.api, resource="variables/default/a")] == [
            "variable.delete", "variable.set",
        ]  # fmt: skip
        assert len(await entries(control_plane.api, action="variable.delete")) == 1
        assert await entries(control_plane.api, user_id="01990000-0000-7000-8000-0000000000ff") == []
        assert await entries(control_plane.api, at_before="2020-01-01T00:00:00Z") == []
        assert len(await entries(control_plane.api, at_from="2020-01-01T00:00:00Z")) == 6
        wrong = await control_plane.api.get(LOG, params={"cursor": "x", "action": "variable.set"})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_cursor")

    async def test_other_organisation(self, control_plane: ControlPlane, people: People) -> None:
        await control_plane.api.put("/api/v1/variables/a", json={"value": 1})
        assert await entries(await people.client("organization_owner", "theirs")) == []


class TestAppendOnly:
    @pytest.mark.parametrize("table", ["audit_log", "platform_audit_log"])
    @pytest.mark.parametrize("statement", ["UPDATE {} SET action = 'x.y'", "DELETE FROM {}", "TRUNCATE {}"])
    @pytest.mark.parametrize("role", ["app", "system"])
    async def test_the_application_changes_nothing(
        self, control_plane: ControlPlane, people: People, table: str, statement: str, role: str
    ) -> None:
        await control_plane.api.put("/api/v1/variables/a", json={"value": 1})
        database = control_plane.database
        opened = database.system() if role == "system" else database.transaction(control_plane.organization_id)
        with pytest.raises(DBAPIError, match="permission denied"):
            async with opened as session:
                await session.execute(text(statement.format(table)))
        assert await people.sql("SELECT count(*) FROM audit_log") == 1

    async def test_not_even_the_owner_rewrites_it(self, control_plane: ControlPlane, owner_url: Any) -> None:
        await control_plane.api.put("/api/v1/variables/a", json={"value": 1})
        engine = create_engine(owner_url)
        for statement in ("UPDATE audit_log SET action = 'x.y'", "TRUNCATE audit_log"):
            with pytest.raises(DBAPIError, match="must stay as they are"), engine.begin() as connection:
                connection.execute(text(statement))
        engine.dispose()

    async def test_what_is_young_is_not_removed(self, people: People) -> None:
        organization_id = await people.organization()
        for age in (29, 31):
            await people.sql(
                "INSERT INTO audit_log (organization_id, actor, action, resource, at)"
                " VALUES (:org, 'operator', 'a.b', :name, now() - make_interval(days => :age))",
                org=organization_id, name=str(age), age=age,
            )  # fmt: skip
        remove = "SELECT governance.remove_audit(:org, CAST(:until AS timestamptz), 10)"
        assert await people.sql(remove, org=organization_id, until=None) == 0
        assert await people.sql(remove, org=organization_id, until=datetime.now(UTC) + timedelta(days=9)) == 1
        assert await people.sql("SELECT resource FROM audit_log") == "29"
