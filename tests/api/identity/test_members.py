"""Members, teams, organisations."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from api.accounts.owner import ensure_owner
from api.app import create_app
from api.identity.permissions import permissions_of
from api.settings import Settings, SettingsError
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.identity.test_api_keys import make

pytestmark = pytest.mark.platform

MEMBERS = "/api/v1/members"


class TestMembers:
    async def test_list(self, people: People) -> None:
        viewer = await people.client("viewer")
        await people.user("stranger@x.test", "viewer", "acme")
        members = (await viewer.get(MEMBERS)).json()["members"]
        assert [(member["email"], member["role"]) for member in members] == [("viewer@default.test", "viewer")]

    async def test_change_and_remove(self, people: People) -> None:
        owner = await people.client("organization_owner")
        user = await people.user("ann@x.test", "viewer")
        answer = await owner.put(f"{MEMBERS}/{user}", json={"role": "team_lead"})
        assert (answer.status_code, answer.json()["role"]) == (200, "team_lead")
        assert (await owner.put(f"{MEMBERS}/{user}", json={"role": "admin"})).status_code == 422
        assert (await owner.delete(f"{MEMBERS}/{user}")).status_code == 204
        assert (await owner.delete(f"{MEMBERS}/{user}")).status_code == 404

    async def test_the_last_owner_stays(self, people: People) -> None:
        owner = await people.client("organization_owner")
        me = (await owner.get("/api/v1/auth/me")).json()["user_id"]
        disabled = await people.user("off@x.test", "organization_owner")
        await people.sql("UPDATE users SET disabled_at = now() WHERE id = :id", id=disabled)
        for answer in (
            await owner.delete(f"{MEMBERS}/{me}"),
            await owner.put(f"{MEMBERS}/{me}", json={"role": "viewer"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "last_owner")
        await people.user("second@x.test", "organization_owner")
        assert (await owner.put(f"{MEMBERS}/{me}", json={"role": "viewer"})).status_code == 200

    async def test_two_owners_who_remove_each_other(self, people: People) -> None:
        first, second = [await people.client("organization_owner", email=f"{name}@x.test") for name in ("a", "b")]
        ids = [await people.user(f"{name}@x.test") for name in ("a", "b")]
        answers = await asyncio.gather(
            first.delete(f"{MEMBERS}/{ids[1]}"), second.delete(f"{MEMBERS}/{ids[0]}")
        )  # fmt: skip
        assert sorted(answer.status_code for answer in answers) in ([204, 409], [204, 401])
        assert await people.sql("SELECT count(*) FROM memberships") == 1


class TestScopedKeys:
    """What a key may give is what it may itself, however high its maker is."""

    async def key_of_an_owner(self, people: People, *permissions: str) -> httpx.AsyncClient:
        owner = await people.client("organization_owner")
        return people.with_token((await make(owner, *permissions)).json()["key"])

    @pytest.mark.parametrize("role", ["organization_owner", "viewer"])
    async def test_members(self, people: People, role: str) -> None:
        key = await self.key_of_an_owner(people, "user:manage")
        lead = await people.user("lead@x.test", "team_lead")
        for answer in (await key.put(f"{MEMBERS}/{lead}", json={"role": role}), await key.delete(f"{MEMBERS}/{lead}")):
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_role")
        assert await people.sql("SELECT role FROM memberships WHERE user_id = :id", id=lead) == "team_lead"

    async def test_owner_for_oneself(self, people: People) -> None:
        """The member's own role is within the key, the new one is not."""
        key = await self.key_of_an_owner(people, "user:manage", *permissions_of("viewer"))
        viewer = await people.user("viewer@x.test", "viewer")
        answer = await key.put(f"{MEMBERS}/{viewer}", json={"role": "organization_owner"})
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_role")
        assert (await key.delete(f"{MEMBERS}/{viewer}")).status_code == 204

    async def test_invitations(self, people: People) -> None:
        narrow = await self.key_of_an_owner(people, "user:invite")
        for role in ("organization_owner", "viewer"):
            answer = await narrow.post("/api/v1/invitations", json={"email": "new@x.test", "role": role})
            assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_role")
        assert await people.sql("SELECT count(*) FROM invitations") == 0

    async def test_invitations_within_the_scope(self, people: People) -> None:
        wide = await self.key_of_an_owner(people, "user:invite", *permissions_of("viewer"))
        answer = await wide.post("/api/v1/invitations", json={"email": "new@x.test", "role": "viewer"})
        assert answer.status_code == 201


class TestTeams:
    async def test_make_join_leave(self, people: People) -> None:
        lead = await people.client("team_lead")
        user, stranger = await people.user("ann@x.test", "viewer"), await people.user("bob@x.test", "viewer", "acme")
        team = (await lead.post("/api/v1/teams", json={"name": "Support"})).json()["id"]
        assert (await lead.post("/api/v1/teams", json={"name": "Support"})).status_code == 409
        for _ in range(2):
            assert (await lead.put(f"/api/v1/teams/{team}/members/{user}")).status_code == 204
        assert (await lead.put(f"/api/v1/teams/{team}/members/{stranger}")).status_code == 404
        listed = (await lead.get("/api/v1/teams")).json()["teams"]
        assert listed == [{"id": team, "name": "Support", "user_ids": [str(user)]}]
        owner = await people.client("organization_owner")
        assert (await owner.delete(f"{MEMBERS}/{user}")).status_code == 204
        assert (await lead.get("/api/v1/teams")).json()["teams"][0]["user_ids"] == []
        assert (await lead.delete(f"/api/v1/teams/{team}")).status_code == 204
        assert (await lead.delete(f"/api/v1/teams/{team}")).status_code == 404


class TestOrganizations:
    async def test_process_isolation_is_for_one(self, people: People) -> None:
        admin = await people.client("admin")
        answer = await admin.post("/api/v1/organizations", json={"slug": "acme", "name": "Acme"})
        assert (answer.status_code, answer.json()["code"]) == (409, "isolation_process")
        assert await people.sql("SELECT count(*) FROM organizations") == 1

    async def test_make_switch_invite(self, people: People) -> None:
        settings = people.plane.app.state.settings.model_copy(update={"isolation": "kubernetes"})
        people.plane.app.state.settings = settings
        admin = await people.client("admin")
        for status in (201, 409):
            answer = await admin.post("/api/v1/organizations", json={"slug": "acme", "name": "Acme"})
            assert answer.status_code == status
        token = (await admin.post("/api/v1/auth/switch", json={"organization": "acme"})).json()["access_token"]
        there = people.with_token(token)
        answer = await there.post("/api/v1/invitations", json={"email": "o@x.test", "role": "organization_owner"})
        assert answer.status_code == 201

    async def test_rename_and_list(self, people: People) -> None:
        owner = await people.client("organization_owner")
        assert (await owner.patch("/api/v1/organizations/default", json={"name": "Ours"})).status_code == 200
        (found,) = (await owner.get("/api/v1/organizations")).json()["organizations"]
        assert (found["slug"], found["name"], found["role"]) == ("default", "Ours", "organization_owner")


class TestFirstOwner:
    async def test_made_once(self, control_plane: ControlPlane, people: People, settings: Settings) -> None:
        owned = settings.model_copy(
            update={"owner_email": "Owner@X.test", "owner_password": SecretStr("first password")}
        )
        organization_id = await people.organization()
        for _ in range(2):
            await ensure_owner(control_plane.database, owned, organization_id)
        answer = await people.log_in("owner@x.test", "first password")
        assert (answer.status_code, answer.json()["role"]) == (200, "organization_owner")
        assert await people.sql("SELECT count(*) FROM users") == 1

    async def test_an_address_of_another_organisation_keeps_its_password(
        self, control_plane: ControlPlane, people: People, settings: Settings
    ) -> None:
        await people.user("owner@x.test", "viewer", "acme")
        owned = settings.model_copy(
            update={"owner_email": "owner@x.test", "owner_password": SecretStr("first password")}
        )
        await ensure_owner(control_plane.database, owned, await people.organization())
        assert (await people.log_in("owner@x.test", "first password")).status_code == 401
        assert (await people.log_in("owner@x.test", organization="default")).status_code == 200

    async def test_a_password_that_is_too_short(self, settings: Settings) -> None:
        app = create_app(settings.model_copy(update={"owner_email": "o@x.test", "owner_password": SecretStr("short")}))
        with pytest.raises(SettingsError, match="AGENT_FACTORY_OWNER_PASSWORD"):
            async with app.router.lifespan_context(app):
                pass
