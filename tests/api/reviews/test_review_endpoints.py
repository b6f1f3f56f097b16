"""Reviews: what may not be published without one, who may give it, and what makes it stale."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from tests.api.agents.designing import Agent, make_agent
from tests.api.control_plane import ControlPlane, workflow
from tests.api.identity.people import People

pytestmark = pytest.mark.platform

PRIVATE = {"type": "workflow", "config": {}}


async def request(agent: Agent, **body: Any) -> dict[str, Any]:
    response = await agent.post("reviews", json=body)
    assert response.status_code == 201, response.text
    review: dict[str, Any] = response.json()
    return review


async def decide(client: httpx.AsyncClient, review: dict[str, Any], decision: str = "approve") -> httpx.Response:
    body = {"decision": decision, "fingerprint": review["fingerprint"], "comment": "Looked at it."}
    return await client.post(f"/api/v1/reviews/{review['id']}/decision", json=body)


async def publish(agent: Agent) -> httpx.Response:
    return await agent.post("publish", headers={"if-match": "*"})


async def approve(agent: Agent, client: httpx.AsyncClient, **body: Any) -> None:
    response = await decide(client, await request(agent, **body))
    assert response.status_code == 200, response.text


async def refused(response: httpx.Response) -> bool:
    return (response.status_code, response.json().get("code")) == (409, "review_required")


async def is_stale(client: httpx.AsyncClient, review: dict[str, Any]) -> bool:
    stale: bool = (await client.get(f"/api/v1/reviews/{review['id']}")).json()["stale"]
    return stale


class TestPolicy:
    async def test_off_at_first(self, control_plane: ControlPlane) -> None:
        shown = (await control_plane.api.get("/api/v1/reviews/policy")).json()
        assert shown == {"required": False, "changed_at": None, "changed_by": None}

    async def test_set(self, control_plane: ControlPlane, ben: httpx.AsyncClient, people: People) -> None:
        shown = (await control_plane.api.get("/api/v1/reviews/policy")).json()
        assert (shown["required"], shown["changed_by"]) == (True, str(await people.user("ben@x.test")))
        assert (await ben.put("/api/v1/reviews/policy", json={"required": False})).json()["required"] is False
        assert (await publish(await make_agent(control_plane))).status_code == 201

    async def test_not_by_a_team_lead(self, ann: httpx.AsyncClient) -> None:
        assert (await ann.put("/api/v1/reviews/policy", json={"required": False})).status_code == 403


class TestPublish:
    async def test_draft(self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane)
        assert await refused(await publish(agent))
        review = await request(agent, note="First.")
        assert await refused(await publish(agent))
        decided = (await decide(ben, review)).json()
        assert (decided["status"], decided["comment"], decided["note"]) == ("approved", "Looked at it.", "First.")
        assert decided["decided_by"] != decided["requested_by"] == decided["authors"][0]
        assert decided["decided_at"] > decided["requested_at"]
        assert (await publish(agent)).status_code == 201
        assert (await publish(agent)).status_code == 200

    async def test_rejected(self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane)
        await approve(agent, ben)
        assert (await decide(ben, await request(agent), "reject")).json()["status"] == "rejected"
        assert await refused(await publish(agent))

    async def test_changed_draft(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient
    ) -> None:
        agent = await make_agent(control_plane)
        open_one, approved = await request(agent), await request(agent)
        assert (await decide(ben, approved)).status_code == 200
        await agent.put(workflow(name="Other"))
        assert await refused(await publish(agent))
        assert (await decide(ben, open_one)).json()["code"] == "review_stale"
        assert await is_stale(ben, open_one)
        assert await is_stale(ben, approved)

    async def test_json_that_is_sent(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient
    ) -> None:
        """What ``agent-factory publish`` does: exactly what was approved goes through, whatever its blanks."""
        url = "/api/v1/workflows/greet/publish"
        assert await refused(await ann.post(url, json=workflow()))
        await approve(await make_agent(control_plane), ben)
        assert await refused(await ann.post(url, json=workflow(name="Other")))
        assert (await ann.post(url, json=workflow())).status_code == 201

    async def test_json_of_a_new_agent(self, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        assert await refused(await ann.post("/api/v1/workflows/new/publish", json=workflow(id="new")))
        assert (await ann.get("/api/v1/agents")).json()["agents"] == []

    async def test_rollback(self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        await ben.put("/api/v1/reviews/policy", json={"required": False})
        agent = await make_agent(control_plane)
        await agent.publish()
        await agent.publish(workflow(name="Other"))
        await ben.put("/api/v1/reviews/policy", json={"required": True})
        assert await refused(await agent.post("versions/1/rollback"))
        await approve(agent, ben, version=1)
        assert (await agent.post("versions/1/rollback")).status_code == 201

    async def test_unarchive(self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        await ben.put("/api/v1/reviews/policy", json={"required": False})
        agent = await make_agent(control_plane)
        await agent.publish()
        await agent.post("archive")
        await ben.put("/api/v1/reviews/policy", json={"required": True})
        assert await refused(await agent.post("unarchive"))
        await approve(agent, ben, version=1)
        assert (await agent.post("unarchive")).status_code == 200


class TestDependencies:
    @pytest.fixture
    async def caller(self, control_plane: ControlPlane, ann: httpx.AsyncClient) -> Agent:
        """Calls ``inner``, which calls ``deep``."""
        deep = workflow(id="deep", trigger=PRIVATE)
        call = {"id": "call", "type": "workflow", "config": {"workflow": "deep", "input": {"name": "B"}}}
        await control_plane.publish(deep)
        await control_plane.publish(workflow(id="inner", trigger=PRIVATE, tasks=[call]))
        outer = {**call, "config": {"workflow": "inner", "input": {"name": "B"}}}
        return await make_agent(control_plane, workflow(tasks=[outer]))

    async def test_listed(self, caller: Agent, ben: httpx.AsyncClient) -> None:
        review = await request(caller)
        calls = (await ben.get(f"/api/v1/reviews/{review['id']}")).json()["covers"]["calls"]
        assert [(call["caller"], call["workflow_id"], call["number"]) for call in calls] == [
            ("inner@1", "deep", 1),
            (None, "inner", 1),
        ]

    async def test_a_call_of_a_call_changed(self, caller: Agent, people: People, ben: httpx.AsyncClient) -> None:
        review = await request(caller)
        assert (await decide(ben, review)).status_code == 200
        await ben.put("/api/v1/reviews/policy", json={"required": False})
        await caller.plane.publish(workflow(id="deep", trigger=PRIVATE, name="Deeper"))
        await ben.put("/api/v1/reviews/policy", json={"required": True})
        assert await is_stale(ben, review)
        assert await refused(await publish(caller))
        await approve(caller, ben)
        assert (await publish(caller)).status_code == 201

    async def test_a_call_that_is_not_there_yet(self, control_plane: ControlPlane, ann: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane, workflow(settings={"error_workflow": "later"}))
        review = await request(agent)
        assert not await is_stale(ann, review)
        await control_plane.publish(workflow(id="later", trigger={"type": "manual"}))
        assert await is_stale(ann, review)

    async def test_a_label_that_means_a_newer_version(self, control_plane: ControlPlane, ann: Any, ben: Any) -> None:
        await ben.put("/api/v1/reviews/policy", json={"required": False})
        await control_plane.publish(workflow(id="inner", trigger=PRIVATE))
        config = {"workflow": "inner", "version": "1.0", "input": {"name": "B"}}
        agent = await make_agent(control_plane, workflow(tasks=[{"id": "call", "type": "workflow", "config": config}]))
        review = await request(agent)
        await control_plane.publish(workflow(id="inner", trigger=PRIVATE, version="2.0"))
        assert not await is_stale(ben, review)
        await control_plane.publish(workflow(id="inner", trigger=PRIVATE, name="Again"))
        assert await is_stale(ben, review)

    async def test_a_variable(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient
    ) -> None:
        task = {"id": "hello", "type": "transform", "config": {"set": {"text": "{{ vars.greeting }}"}}}
        agent = await make_agent(control_plane, workflow(tasks=[task], vars=["greeting"]))
        review = await request(agent)
        await ann.put("/api/v1/variables/other", json={"value": "x"})
        assert not await is_stale(ben, review)
        await ann.put("/api/v1/variables/greeting", json={"value": "Good day"})
        assert await is_stale(ben, review)


class TestWhoDecides:
    async def test_not_the_author_nor_who_asked(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient, people: People
    ) -> None:
        agent = await make_agent(control_plane)
        other = await people.client("team_lead", email="carl@x.test")
        asked = (await other.post(f"{agent.url}/reviews", json={})).json()
        for client in (ann, other):
            response = await decide(client, asked)
            assert (response.status_code, response.json()["code"]) == (403, "own_work")
        assert (await decide(ben, asked)).status_code == 200

    async def test_not_who_changed_it_before(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient
    ) -> None:
        agent = await make_agent(control_plane)
        body = {"workflow": workflow(name="Ben's")}
        assert (await ben.put(f"{agent.url}/workflow", json=body, headers={"if-match": "*"})).status_code == 200
        await agent.put(workflow(name="Both"))
        assert (await decide(ben, await request(agent))).json()["code"] == "own_work"

    @pytest.mark.parametrize("how", ["draft", "json"])
    async def test_not_who_wrote_the_version(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient, people: People, how: str
    ) -> None:
        """Ann writes it, Ben approves and publishes it; it stays Ann's, however often it is brought back."""
        carl = await people.client("team_lead", email="carl@x.test")
        agent = await make_agent(control_plane)
        await approve(agent, ben)
        if how == "draft":
            published = await ben.post(f"{agent.url}/publish", headers={"if-match": "*"})
        else:
            backwards = dict(reversed(workflow().items()))
            published = await ben.post("/api/v1/workflows/greet/publish", json=backwards)
        assert published.status_code == 201
        await ben.put("/api/v1/reviews/policy", json={"required": False})
        for answer in (
            await carl.post("/api/v1/workflows/greet/publish", json=workflow(name="Carl's")),
            await carl.post(f"{agent.url}/versions/1/rollback"),
            await carl.post("/api/v1/workflows/greet/publish", json=workflow(name="Carl's")),
        ):
            assert answer.status_code == 201
        authors = [await people.user(f"{name}@x.test") for name in ("ann", "carl")]
        for number, author in ((1, authors[0]), (2, authors[1]), (3, authors[0])):
            asked = (await ben.post(f"{agent.url}/reviews", json={"version": number})).json()
            assert asked["authors"] == [str(author)]
        asked = (await carl.post(f"{agent.url}/reviews", json={"version": 1})).json()
        response = await decide(ann, asked)
        assert (response.status_code, response.json()["code"]) == (403, "own_work")
        assert (await decide(ben, asked)).status_code == 200

    async def test_who_wrote_what_is_published_may(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient, people: People
    ) -> None:
        agent = await make_agent(control_plane)
        await approve(agent, ben)
        await publish(agent)
        body = {"workflow": workflow(name="Ben's")}
        assert (await ben.put(f"{agent.url}/workflow", json=body, headers={"if-match": "*"})).status_code == 200
        asked = (await ben.post(f"{agent.url}/reviews", json={})).json()
        assert asked["authors"] == [str(await people.user("ben@x.test"))]
        assert (await decide(ann, asked)).status_code == 200

    async def test_not_with_a_key(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient, people: People
    ) -> None:
        review = await request(await make_agent(control_plane))
        body = {"name": "K", "permissions": ["review:*"], "expires_at": None}
        key = (await ben.post("/api/v1/api-keys", json=body)).json()["key"]
        for token in (key, "api-token"):
            response = await decide(people.with_token(token), review)
            assert (response.status_code, response.json()["code"]) == (403, "login_needed")

    async def test_the_author_by_a_key_is_the_author(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, people: People
    ) -> None:
        body = {"name": "K", "permissions": ["agent:*", "review:*"], "expires_at": None}
        key = (await ann.post("/api/v1/api-keys", json=body)).json()["key"]
        control_plane.api = people.with_token(key)
        assert (await decide(ann, await request(await make_agent(control_plane)))).json()["code"] == "own_work"

    async def test_once_and_what_was_looked_at(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient
    ) -> None:
        review = await request(await make_agent(control_plane))
        assert (await decide(ben, review | {"fingerprint": "0" * 64})).json()["code"] == "other_fingerprint"
        assert (await decide(ben, review)).status_code == 200
        assert (await decide(ben, review, "reject")).json()["code"] == "already_decided"

    async def test_the_database_keeps_it_too(
        self, control_plane: ControlPlane, ann: httpx.AsyncClient, people: People
    ) -> None:
        await request(await make_agent(control_plane))
        statement = "UPDATE agent_reviews SET decision = 'approve', decided_at = now(), decided_by = authors[1]"
        with pytest.raises(IntegrityError, match="four_eyes"):
            await people.sql(statement)


class TestLooking:
    async def test_list(self, control_plane: ControlPlane, ann: httpx.AsyncClient, ben: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane)
        reviews = [await request(agent) for _ in range(3)]
        await decide(ben, reviews[0])
        page = (await ann.get("/api/v1/reviews", params={"status": "open", "limit": 1})).json()
        assert ([each["id"] for each in page["reviews"]], page["next"]) == ([reviews[2]["id"]], reviews[2]["id"])
        approved = (await ann.get("/api/v1/reviews", params={"status": "approved", "agent_id": agent.id})).json()
        assert [each["id"] for each in approved["reviews"]] == [reviews[0]["id"]]

    async def test_detail_has_the_workflow(self, control_plane: ControlPlane, ann: httpx.AsyncClient) -> None:
        review = await request(await make_agent(control_plane))
        shown = (await ann.get(f"/api/v1/reviews/{review['id']}")).json()
        assert (shown["workflow"], shown["stale"]) == (workflow(), False)

    async def test_errors(self, control_plane: ControlPlane, ann: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[]))
        assert (await agent.post("reviews", json={})).json()["code"] == "invalid_workflow"
        assert (await agent.post("reviews", json={"version": 7})).status_code == 404

    async def test_goes_with_its_agent(self, control_plane: ControlPlane, ann: httpx.AsyncClient) -> None:
        agent = await make_agent(control_plane)
        await request(agent)
        assert (await ann.delete(agent.url)).status_code == 204
        async with control_plane.database.system() as session:
            assert await session.scalar(text("SELECT count(*) FROM agent_reviews")) == 0
