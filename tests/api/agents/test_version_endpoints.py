"""Publishing drafts, versions, rollback, archive."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from api.agents import versions
from api.releases.repository import ArtifactRepository
from api.workflows.service import compile_source
from tests.api.agents.designing import AGENTS, Agent, make_agent
from tests.api.control_plane import ControlPlane, lease_request, webhook, workflow

pytestmark = pytest.mark.platform

HOOK = "/webhook/default/greet"
SCHEDULE = {"type": "schedule", "config": {"cron": "0 6 * * *", "timezone": "Europe/Berlin"}}


async def file_of(plane: ControlPlane, name: str = "default__greet.py") -> str:
    """Return a file of the newest release."""
    release = (await plane.runtime.get("/runtime/v1/release")).json()
    [sha256] = [entry["sha256"] for entry in release["artifacts"] if entry["name"] == name]
    async with plane.database.system() as session:
        content = await ArtifactRepository(session, plane.app.state.organization_id).content(sha256)
    assert content is not None
    return content.decode()


class TestPublishDraft:
    async def test_first(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        response = await agent.post("publish", headers={"if-match": await agent.etag()})
        assert (response.status_code, response.json()["version"]) == (201, 1)
        shown = await agent.show()
        assert (shown["status"], shown["version"], shown["draft"]["changed"]) == ("deployed", 1, False)
        started = await control_plane.public.post(HOOK, json={"name": "Ann"})
        assert started.status_code == 202

    async def test_same_again(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        response = await agent.post("publish", headers={"if-match": await agent.etag()})
        assert (response.status_code, response.json()["version"]) == (200, 1)

    async def test_preconditions(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        old = await agent.etag()
        assert (await agent.post("publish")).status_code == 428
        await agent.put(workflow(name="Somebody else's"))
        assert (await agent.post("publish", headers={"if-match": old})).status_code == 412
        assert (await agent.show())["version"] is None

    async def test_errors(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[]))
        response = await agent.post("publish", headers={"if-match": "*"})
        assert (response.status_code, response.json()["code"]) == (422, "invalid_workflow")

    async def test_draft_with_another_id(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.put(workflow(id="Not An Id"))
        assert (await agent.post("publish", headers={"if-match": "*"})).status_code == 422

    @pytest.mark.parametrize("happens", ["moved", "deleted"])
    async def test_another_id_or_gone_meanwhile(
        self, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, happens: str
    ) -> None:
        agent = await make_agent(control_plane)

        async def compile_meanwhile(*arguments: Any) -> Any:
            compiled = await compile_source(*arguments)
            if happens == "moved":
                assert (await agent.put(workflow(id="moved"))).status_code == 200
            else:
                assert (await control_plane.api.delete(agent.url)).status_code == 204
            return compiled

        monkeypatch.setattr(versions, "compile_source", compile_meanwhile)
        response = await agent.post("publish", headers={"if-match": "*"})
        assert (response.status_code, response.json()["code"]) == (412, "precondition_failed")
        # No agent was made in its place.
        left = [each["workflow_id"] for each in (await control_plane.api.get(AGENTS)).json()["agents"]]
        assert left == (["moved"] if happens == "moved" else [])

    async def test_by_the_workflows_id_it_is_the_same_agent(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, name="Mine")
        await agent.publish()
        assert (await control_plane.publish(workflow(version="2")))["version"] == 2
        shown = await agent.show()
        assert (shown["version"], shown["name"], shown["draft"]["changed"]) == (2, "Mine", True)


class TestVersions:
    async def test_list_and_get(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        for number in range(3):
            await agent.publish(workflow(version=f"1.{number}"))
        first = (await control_plane.api.get(f"{agent.url}/versions", params={"limit": 2})).json()
        assert [each["number"] for each in first["versions"]] == [3, 2]
        rest = (await control_plane.api.get(f"{agent.url}/versions", params={"before": first["next"]})).json()
        assert ([each["number"] for each in rest["versions"]], rest["next"]) == ([1], None)
        one = (await control_plane.api.get(f"{agent.url}/versions/2")).json()
        assert (one["label"], one["created_by"], one["workflow"]) == ("1.1", "operator", workflow(version="1.1"))

    async def test_as_it_was_sent(self, control_plane: ControlPlane) -> None:
        source = (
            b'{"version":"1",  "id":"sent","name":"n","trigger":{"type":"manual"},'
            b'"tasks":[{"id":"a","type":"transform","config":{"set":{"x":1.50}}}]}'
        )
        await control_plane.api.post("/api/v1/workflows/sent/publish", content=source)
        [agent] = (await control_plane.api.get(AGENTS)).json()["agents"]
        response = await control_plane.api.get(f"{AGENTS}/{agent['id']}/versions/1")
        assert source in response.content

    @pytest.mark.parametrize("number", ["0", "2", "x", "-1", "1.0", "99999999999999999999", "%00", "²"])
    async def test_no_such_version(self, control_plane: ControlPlane, number: str) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        assert (await control_plane.api.get(f"{agent.url}/versions/{number}")).status_code == 404

    async def test_rollback(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        first = await agent.publish()
        await agent.publish(workflow(trigger=webhook("moved")))
        response = await agent.post("versions/1/rollback")
        assert (response.status_code, response.json()["version"]) == (201, 3)
        assert response.json()["digest"] == first["digest"]
        third = (await control_plane.api.get(f"{agent.url}/versions/3")).json()
        assert (third["restored_from"], third["workflow"]) == (1, workflow())
        assert (await control_plane.public.post(HOOK, json={"name": "Ann"})).status_code == 202
        assert (await control_plane.public.post("/webhook/default/moved", json={"name": "Ann"})).status_code == 404
        # The draft stays as it is.
        assert (await agent.show())["draft"]["changed"] is True
        assert (await agent.post("versions/3/rollback")).status_code == 200

    async def test_what_was_added_has_no_before(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        await agent.put(workflow(description=None))
        diff = (await control_plane.api.get(f"{agent.url}/diff", params={"from": "1"})).json()
        assert diff["workflow"] == [{"path": "/description", "op": "add", "after": None}]

    async def test_diff(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        await agent.put(workflow(name="New", trigger=webhook("other")))
        diff = (await control_plane.api.get(f"{agent.url}/diff", params={"from": "1"})).json()
        assert diff["identical"] is False
        assert diff["workflow"] == [{"path": "/name", "op": "replace", "before": "Greeter", "after": "New"}]
        assert [each["id"] for each in diff["triggers"]["added"]] == ["webhook:other"]
        same = (await control_plane.api.get(f"{agent.url}/diff", params={"from": "1", "to": "1"})).json()
        assert same["identical"] is True
        for query in ({"from": "2"}, {"from": "1", "to": "x"}):
            assert (await control_plane.api.get(f"{agent.url}/diff", params=query)).status_code == 404
        assert (await control_plane.api.get(f"{agent.url}/diff")).status_code == 422


class TestArchive:
    async def archived(self, plane: ControlPlane, document: dict[str, Any] | None = None) -> Agent:
        agent = await make_agent(plane, document)
        await agent.publish()
        response = await agent.post("archive")
        assert (response.status_code, response.json()["status"]) == (200, "archived")
        return agent

    async def test_nothing_starts_it(self, control_plane: ControlPlane) -> None:
        agent = await self.archived(control_plane)
        assert (await control_plane.public.post(HOOK, json={"name": "Ann"})).status_code == 404
        for path, body in (
            ("/api/v1/workflows/execute", {"workflow_id": "greet", "input": {"name": "Ann"}}),
            ("/api/v1/workflows/greet/publish", workflow(version="2")),
        ):
            response = await control_plane.api.post(path, json=body)
            assert (response.status_code, response.json()["code"]) == (409, "workflow_archived")
        response = await agent.post("publish", headers={"if-match": "*"})
        assert (response.status_code, response.json()["code"]) == (409, "workflow_archived")
        assert (await agent.post("archive")).status_code == 200

    async def test_events_pass_it_by(self, control_plane: ControlPlane) -> None:
        trigger = {"type": "event", "config": {"type": "made"}}
        await self.archived(control_plane, workflow(trigger=trigger))
        headers = {"content-type": "application/cloudevents+json"}
        event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "made", "data": {"name": "Ann"}}
        response = await control_plane.api.post("/api/v1/events", json=event, headers=headers)
        assert response.json()["executions"] == []

    async def test_what_runs_runs_on(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        digest = (await agent.publish())["digest"]
        execution_id = await control_plane.execute()
        await control_plane.lease(execution_id, digest)
        await agent.post("archive")
        response = await control_plane.call(execution_id, "heartbeat", {"unit": "segment.hello", "token": 1})
        assert (response.status_code, response.json()["status"]) == (200, "running")
        # Once it has ended it stays so.
        await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
        async with control_plane.database.system() as session:
            await session.execute(text("UPDATE workflow_executions SET status = 'failed', completed_at = now()"))
        response = await control_plane.api.post(f"/api/v1/executions/{execution_id}/retry")
        assert (response.status_code, response.json()["code"]) == (409, "workflow_archived")

    async def test_schedule_leaves_the_release_and_the_dag_stays(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(trigger=SCHEDULE, input={"type": "object"}))
        published = await agent.publish()
        before = await file_of(control_plane)
        assert "CronTriggerTimetable" in before
        await agent.post("archive")
        after = await file_of(control_plane)
        assert "CronTriggerTimetable" not in after
        # The relay waits for this tag, and runs at work need the DAG.
        assert f"plan:{published['digest'][:12]}" in after
        await agent.post("unarchive")
        assert await file_of(control_plane) == before
        assert (await agent.show())["version"] == 1

    async def test_runs_that_airflow_begins_are_refused(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(trigger=SCHEDULE, input={"type": "object"}))
        digest = (await agent.publish())["digest"]
        await agent.post("archive")
        run = {"scheduled": True, "due_at": "2026-11-01T05:00:00Z"}
        response = await control_plane.call("scheduled__x", "lease", lease_request(digest, run=run))
        assert response.status_code == 404

    async def test_unarchive(self, control_plane: ControlPlane) -> None:
        agent = await self.archived(control_plane)
        response = await agent.post("unarchive")
        assert (response.status_code, response.json()["status"], response.json()["version"]) == (200, "deployed", 1)
        assert (await control_plane.public.post(HOOK, json={"name": "Ann"})).status_code == 202
        again = await agent.post("unarchive")
        assert (again.status_code, again.json()["code"]) == (409, "agent_not_archived")

    async def test_path_was_taken_meanwhile(self, control_plane: ControlPlane) -> None:
        agent = await self.archived(control_plane)
        await control_plane.publish(workflow(id="rival"))
        response = await agent.post("unarchive")
        assert (response.status_code, response.json()["code"]) == (409, "webhook_route_taken")
        assert (await agent.show())["status"] == "archived"

    async def test_never_published(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        response = await agent.post("archive")
        assert (response.status_code, response.json()["code"]) == (409, "agent_not_published")


@pytest.mark.parametrize(
    "path",
    ["/agents/{agent_id}/publish", "/agents/{agent_id}/versions/{number}/rollback", "/workflows/{workflow_id}/publish"],
)
async def test_an_unchanged_publish_is_documented(control_plane: ControlPlane, path: str) -> None:
    assert {"200", "201"} <= control_plane.app.openapi()["paths"][f"/api/v1{path}"]["post"]["responses"].keys()
