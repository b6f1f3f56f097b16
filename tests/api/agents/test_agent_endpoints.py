"""/api/v1/agents: making, listing, changing and deleting agents."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.api.agents.designing import AGENTS, NEIGHBOUR, Agent, become, make_agent
from tests.api.control_plane import ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform


class TestCreateAgent:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.post(AGENTS, json={"name": "x"})).status_code == 401

    async def test_with_a_workflow(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post(AGENTS, json={"name": "Greeter", "workflow": workflow()})
        body = response.json()
        assert response.status_code == 201
        assert response.headers["location"] == f"{AGENTS}/{body['id']}"
        assert (body["workflow_id"], body["status"], body["version"]) == ("greet", "draft", None)
        assert body["created_by"] == body["draft"]["updated_by"] == "operator"
        assert body["draft"]["changed"] is True

    async def test_without_one_the_draft_is_to_be_filled(self, control_plane: ControlPlane) -> None:
        body = (await control_plane.api.post(AGENTS, json={"name": "2. Support Triage!"})).json()
        assert body["workflow_id"] == "support_triage"
        draft = (await control_plane.api.get(f"{AGENTS}/{body['id']}/workflow")).json()
        assert (draft["workflow"]["id"], draft["workflow"]["tasks"]) == ("support_triage", [])

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "  "},
            {"name": None},
            {"name": "a\x00b"},
            {"name": "x" * 256},
            {"name": "x", "description": "\x00"},
            {"name": "x", "workflow_id": "Not an id"},
            {"name": "x", "workflow_id": "a\n"},
            {"name": "x", "workflow": []},
            {"name": "x", "status": "deployed"},
            {"name": "x", "organization_id": str(uuid4())},
            {"name": "x", "created_by": "me"},
            {"name": "x", "workflow_id": "one", "workflow": {"id": "two"}},
        ],
    )
    async def test_bad_body(self, control_plane: ControlPlane, body: dict[str, object]) -> None:
        assert (await control_plane.api.post(AGENTS, json=body)).status_code == 422

    async def test_id_is_taken(self, control_plane: ControlPlane) -> None:
        await make_agent(control_plane)
        response = await control_plane.api.post(AGENTS, json={"name": "x", "workflow_id": "greet"})
        assert (response.status_code, response.json()["code"]) == (409, "workflow_id_taken")

    async def test_id_is_free_in_another_organisation(self, control_plane: ControlPlane) -> None:
        await make_agent(control_plane)
        await become(control_plane, "other")
        await make_agent(control_plane)

    async def test_too_large(self, control_plane: ControlPlane) -> None:
        large = {"name": "x", "workflow": {"id": "x", "name": "y" * 1_000_000}}
        assert (await control_plane.api.post(AGENTS, json=large)).status_code == 413
        large = {"name": "x", "canvas": {"x": "y" * 500_000}}
        assert (await control_plane.api.post(AGENTS, json=large)).status_code == 413


class TestListAgents:
    async def test_pages(self, control_plane: ControlPlane) -> None:
        for number in range(5):
            await make_agent(control_plane, workflow(id=f"w{number}"), name=f"Agent {number}")
        seen, before = [], None
        while True:
            query = {"limit": 2} | ({"before": before} if before else {})
            page = (await control_plane.api.get(AGENTS, params=query)).json()
            seen += [agent["name"] for agent in page["agents"]]
            before = page["next"]
            if before is None:
                break
        assert seen == [f"Agent {number}" for number in (4, 3, 2, 1, 0)]

    async def test_search(self, control_plane: ControlPlane) -> None:
        await make_agent(control_plane, workflow(id="one"), name="Billing 100% right")
        await make_agent(control_plane, workflow(id="two_billing"), name="Other")
        await make_agent(control_plane, workflow(id="three"), name="Last")

        async def found(q: str) -> list[str]:
            page = (await control_plane.api.get(AGENTS, params={"q": q})).json()
            return sorted(agent["workflow_id"] for agent in page["agents"])

        assert await found("BILLING") == ["one", "two_billing"]
        assert await found("100%") == ["one"]
        assert await found("%") == ["one"]
        assert await found("_") == ["two_billing"]
        assert await found("nobody") == []

    @pytest.mark.parametrize(
        "query", [{"q": "\x00"}, {"status": "live"}, {"limit": 0}, {"limit": 201}, {"before": "x"}]
    )
    async def test_bad_query(self, control_plane: ControlPlane, query: dict[str, str | int]) -> None:
        assert (await control_plane.api.get(AGENTS, params=query)).status_code == 422

    async def test_statuses(self, control_plane: ControlPlane) -> None:
        names = ("draft", "active", "deployed", "archived")
        agents = {name: await make_agent(control_plane, workflow(id=name, trigger=webhook(name))) for name in names}
        for name in names[1:]:
            await agents[name].publish()
        assert (await control_plane.api.post("/api/v1/workflows/active/pause")).status_code == 200
        assert (await agents["archived"].post("archive")).status_code == 200
        for name in names:
            page = (await control_plane.api.get(AGENTS, params={"status": name})).json()
            assert [agent["workflow_id"] for agent in page["agents"]] == [name]
            assert (await agents[name].show())["status"] == name
        assert (await control_plane.api.post("/api/v1/relay/pause")).status_code == 200
        assert (await agents["deployed"].show())["status"] == "active"

    async def test_others_are_not_there(self, control_plane: ControlPlane) -> None:
        await make_agent(control_plane)
        await become(control_plane, "other")
        for query in ({}, {"q": "greet"}, {"status": "deployed"}):
            page = await control_plane.api.get(AGENTS, params=query)
            assert page.json() == {"agents": [], "next": None}

    async def test_a_page_that_begins_behind_anothers_row_has_own_ones_only(self, control_plane: ControlPlane) -> None:
        mine = await make_agent(control_plane)
        await become(control_plane, NEIGHBOUR)
        [theirs] = (await control_plane.api.get(AGENTS)).json()["agents"]
        page = (await control_plane.api.get(AGENTS, params={"before": mine.id})).json()
        assert [agent["id"] for agent in page["agents"]] == [theirs["id"]]
        await become(control_plane, "default")
        assert (await control_plane.api.get(AGENTS, params={"before": theirs["id"]})).json()["agents"] == []


class TestOneAgent:
    async def test_published_by_its_workflow_id(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        [agent] = (await control_plane.api.get(AGENTS)).json()["agents"]
        assert (agent["name"], agent["status"], agent["version"]) == ("Greeter", "deployed", 1)
        assert agent["created_by"] == "operator"
        assert agent["draft"]["changed"] is False
        draft = await control_plane.api.get(f"{AGENTS}/{agent['id']}/workflow")
        assert draft.json()["workflow"] == workflow()
        assert draft.headers["etag"] == agent["draft"]["etag"]
        # The first draft of its own begins there.
        made = Agent(control_plane, agent)
        assert (await made.put(workflow(name="New"))).status_code == 200
        assert (await made.show())["draft"]["changed"] is True

    async def test_update(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, description="Old.")
        changed = (await control_plane.api.patch(agent.url, json={"name": "New"})).json()
        assert (changed["name"], changed["description"]) == ("New", "Old.")
        assert changed["updated_at"] > agent.body["updated_at"]
        assert (await control_plane.api.patch(agent.url, json={"description": None})).json()["description"] is None
        # A publish leaves the name alone: it is the agent's own.
        await agent.publish()
        assert (await agent.show())["name"] == "New"

    @pytest.mark.parametrize("body", [{"name": None}, {"name": "\x00"}, {"status": "active"}, {"workflow_id": "x"}])
    async def test_bad_update(self, control_plane: ControlPlane, body: dict[str, object]) -> None:
        agent = await make_agent(control_plane)
        assert (await control_plane.api.patch(agent.url, json=body)).status_code == 422

    async def test_delete(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        assert (await control_plane.api.delete(agent.url)).status_code == 204
        assert (await control_plane.api.get(agent.url)).status_code == 404
        async with control_plane.database.system() as session:
            query = text("SELECT count(*) FROM agent_workflows WHERE agent_id = CAST(:agent AS uuid)")
            assert await session.scalar(query, {"agent": agent.id}) == 0

    async def test_published_one_cannot_be_deleted(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        response = await control_plane.api.delete(agent.url)
        assert (response.status_code, response.json()["code"]) == (409, "agent_published")


ROUTES = [
    ("GET", ""),
    ("PATCH", ""),
    ("DELETE", ""),
    ("GET", "/workflow"),
    ("PUT", "/workflow"),
    ("POST", "/preview"),
    ("POST", "/publish"),
    ("GET", "/versions"),
    ("GET", "/versions/1"),
    ("POST", "/versions/1/rollback"),
    ("GET", "/diff?from=1&to=draft"),
    ("POST", "/archive"),
    ("POST", "/unarchive"),
    ("POST", "/test"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_another_organisations_agent_is_not_there(control_plane: ControlPlane, method: str, path: str) -> None:
    agent = await make_agent(control_plane)
    await agent.publish()
    bodies = {"PATCH": {"name": "Mine"}, "PUT": {"workflow": workflow(name="Mine")}, "POST": {}}
    arguments = {"headers": {"if-match": "*"}, "json": bodies.get(method)}
    await become(control_plane, "other")
    theirs = await control_plane.api.request(method, agent.url + path, **arguments)
    stranger = str(uuid4())
    nobodys = await control_plane.api.request(method, f"{AGENTS}/{stranger}{path}", **arguments)
    malformed = await control_plane.api.request(method, f"{AGENTS}/x{path}", **arguments)
    assert (theirs.status_code, nobodys.status_code, malformed.status_code) == (404, 404, 404)
    assert theirs.text.replace(agent.id, stranger) == nobodys.text
    anonymous = await control_plane.public.request(method, agent.url + path, **arguments)
    assert anonymous.status_code == 401
