"""/api/v1/agents/{id}/workflow: drafts, kept as they were sent, changed by one at a time."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from sqlalchemy import text

from api.agents.repository import AgentRepository
from tests.api.agents.designing import make_agent
from tests.api.control_plane import ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform


class TestPutDraft:
    async def test_kept_as_it_was_sent(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        source = '{ "id":"greet",\n "name": "\\u0041\\u0000", "big": 1.50e+2, "twice": 1, "twice": 2 }'
        body = '{"canvas": {"x": {"y": 1.5}}, "workflow" : ' + source + "}"
        headers = {"if-match": await agent.etag(), "content-type": "application/json"}
        put = await control_plane.api.put(f"{agent.url}/workflow", content=body, headers=headers)
        got = await control_plane.api.get(f"{agent.url}/workflow")
        assert (put.status_code, put.text, put.headers["etag"]) == (200, got.text, got.headers["etag"])
        assert f'"workflow":{source},"canvas":{{"x":{{"y":1.5}}}}' in got.text
        assert got.json()["updated_by"] == "operator"

    async def test_unfinished_ones_are_kept(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        for document in ({}, {"id": None}, {"id": "not an id"}, {"tasks": "none"}):
            assert (await agent.put(document)).status_code == 200
        assert (await agent.show())["workflow_id"] == "greet"

    async def test_without_a_precondition(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        response = await control_plane.api.put(f"{agent.url}/workflow", json={"workflow": {}})
        assert (response.status_code, response.json()["code"]) == (428, "precondition_required")

    async def test_somebody_was_faster(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        old = await agent.etag()
        assert (await agent.put(workflow(name="First"))).status_code == 200
        response = await agent.put(workflow(name="Second"), etag=old)
        assert (response.status_code, response.json()["code"]) == (412, "precondition_failed")
        assert response.headers["etag"] == await agent.etag()
        draft = (await control_plane.api.get(f"{agent.url}/workflow")).json()
        assert draft["workflow"]["name"] == "First"

    async def test_back_to_the_same_content_is_another_state(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        old = await agent.etag()
        await agent.put(workflow(name="Between"))
        await agent.put(workflow())
        assert (await agent.put(workflow(name="Late"), etag=old)).status_code == 412

    async def test_one_of_many_wins(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        etag = await agent.etag()
        waiting = text("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        async with asyncio.timeout(30), control_plane.database.system() as session:
            # All have come before one of them may look at the draft.
            held = AgentRepository(session, control_plane.app.state.organization_id)
            assert await held.lock(UUID(agent.id)) is not None
            puts = [asyncio.create_task(agent.put(workflow(name=f"N{n}"), etag=etag)) for n in range(3)]
            while await session.scalar(waiting) < len(puts):
                assert not any(put.done() for put in puts)
                await asyncio.sleep(0.005)
        answers = await asyncio.gather(*puts)
        assert sorted(answer.status_code for answer in answers) == [200, 412, 412]

    @pytest.mark.parametrize(
        ("given", "status"),
        [("*", 200), ("W/{etag}", 412), ('"x", {etag}', 200), ("3-abc", 400), ('{etag} "x"', 400), ("", 428)],
    )
    async def test_forms_of_the_header(self, control_plane: ControlPlane, given: str, status: int) -> None:
        agent = await make_agent(control_plane)
        header = given.replace("{etag}", await agent.etag())
        response = await control_plane.api.put(
            f"{agent.url}/workflow", json={"workflow": workflow()}, headers={"if-match": header}
        )
        assert response.status_code == status

    @pytest.mark.parametrize("body", [{}, {"workflow": []}, {"workflow": {}, "canvas": 1}, {"workflow": {}, "id": 1}])
    async def test_bad_body(self, control_plane: ControlPlane, body: dict[str, object]) -> None:
        agent = await make_agent(control_plane)
        response = await control_plane.api.put(f"{agent.url}/workflow", json=body, headers={"if-match": "*"})
        assert response.status_code == 422

    async def test_sizes(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        assert (await agent.put({"x": "y" * 1_000_000})).status_code == 413
        assert (await agent.put({}, canvas={"x": "y" * 500_000})).status_code == 413


class TestWorkflowId:
    async def test_a_draft_brings_its_id(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        assert (await agent.put(workflow(id="hello_again"))).status_code == 200
        assert (await agent.show())["workflow_id"] == "hello_again"
        # The old one is free.
        await make_agent(control_plane)

    async def test_of_another_agent(self, control_plane: ControlPlane) -> None:
        await make_agent(control_plane, workflow(id="other"))
        agent = await make_agent(control_plane)
        response = await agent.put(workflow(id="other"))
        assert (response.status_code, response.json()["code"]) == (409, "workflow_id_taken")
        assert (await agent.show())["workflow_id"] == "greet"

    async def test_fixed_once_published(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        response = await agent.put(workflow(id="other"))
        assert (response.status_code, response.json()["code"]) == (409, "workflow_id_fixed")


class TestPreview:
    async def test_valid(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(trigger=webhook("greet")))
        preview = (await agent.post("preview")).json()
        assert (preview["valid"], preview["diagnostics"]) == (True, [])
        assert preview["dag"]["name"] == "default__greet.py"
        assert f"plan:{preview['digest'][:12]}" in preview["dag"]["text"]
        assert preview["tree"].startswith("greet: Greeter")
        assert [step["id"] for step in preview["plan"]["units"][0]["steps"]] == ["hello", "bye"]
        [path] = preview["estimate"]["paths"]
        assert (path["model_calls"], path["usd"]) == (0, 0.0)
        # Nothing was published, and a publish makes what was shown.
        assert (await agent.show())["version"] is None
        assert (await agent.publish())["digest"] == preview["digest"]

    async def test_with_errors(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[]))
        preview = (await agent.post("preview")).json()
        assert preview["valid"] is False
        assert preview["diagnostics"]
        assert preview["dag"] is preview["estimate"] is preview["plan"] is None


class TestValidate:
    URL = "/api/v1/workflows/validate"

    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.post(self.URL, json=workflow())).status_code == 401

    async def test_valid(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post(self.URL, json=workflow())
        assert (response.status_code, response.json()) == (200, {"valid": True, "diagnostics": []})

    @pytest.mark.parametrize("source", [b"", b"[]", b"{", b"\xff", b'{"id": "x"}'])
    async def test_errors_are_the_answer(self, control_plane: ControlPlane, source: bytes) -> None:
        response = await control_plane.api.post(self.URL, content=source)
        assert (response.status_code, response.json()["valid"]) == (200, False)
        assert response.json()["diagnostics"]
