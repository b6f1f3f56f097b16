"""POST /api/v1/workflows/{id}/publish."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from tests.api.control_plane import ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform

URL = "/api/v1/workflows/greet/publish"


class TestPublishWorkflow:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.post(URL, json=workflow())
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"

    async def test_runtime_token_is_no_api_token(self, control_plane: ControlPlane) -> None:
        response = await control_plane.runtime.post(URL, json=workflow())
        assert response.status_code == 401

    async def test_first_version(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post(URL, json=workflow())
        body = response.json()
        assert response.status_code == 201
        assert (body["workflow_id"], body["version"], body["release"]) == ("greet", 1, "1")
        assert body["dag_id"] == "default__greet"
        assert body["webhooks"] == ["http://factory.test/webhook/default/greet"]
        assert body["diagnostics"] == []

    async def test_files_are_in_the_release(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        release = (await control_plane.runtime.get("/runtime/v1/release")).json()
        assert [entry["name"] for entry in release["artifacts"]] == ["default__greet.plan.json", "default__greet.py"]
        for entry in release["artifacts"]:
            asked = {"sha256": [entry["sha256"]]}
            answer = (await control_plane.runtime.post("/runtime/v1/artifacts", json=asked)).content
            assert hashlib.sha256(answer[4:]).hexdigest() == entry["sha256"]
            assert int.from_bytes(answer[:4], "big") == len(answer[4:]) == entry["size"]
        assert release["artifacts"][0]["sha256"] == digest

    async def test_same_again_changes_nothing(self, control_plane: ControlPlane) -> None:
        first = await control_plane.api.post(URL, json=workflow())
        again = await control_plane.api.post(URL, json=workflow())
        assert again.status_code == 200
        assert again.json() == first.json()

    async def test_changed_prompt_is_a_new_version_and_release(self, control_plane: ControlPlane) -> None:
        first = await control_plane.publish()
        second = await control_plane.publish(workflow(name="Other"))
        assert (second["version"], second["release"]) == (2, "2")
        assert second["digest"] != first["digest"]

    async def test_back_to_the_first_plan_is_a_third_version(self, control_plane: ControlPlane) -> None:
        first = await control_plane.publish()
        await control_plane.publish(workflow(name="Other"))
        third = await control_plane.publish()
        assert (third["version"], third["digest"]) == (3, first["digest"])

    async def test_errors_are_diagnostics(self, control_plane: ControlPlane) -> None:
        document = workflow()
        document["tasks"][1]["next"] = ["nobody"]
        response = await control_plane.api.post(URL, json=document)
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["code"] == "invalid_workflow"
        assert [entry["code"] for entry in problem["diagnostics"]] == ["unknown_task"]

    @pytest.mark.parametrize("source", [b"", b"{", b"[]", b"\xff\xfe", b'{"id": NaN}'])
    async def test_no_workflow_at_all(self, control_plane: ControlPlane, source: bytes) -> None:
        response = await control_plane.api.post(URL, content=source)
        assert response.status_code == 422
        assert response.json()["diagnostics"]

    async def test_id_of_another_workflow(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post("/api/v1/workflows/other/publish", json=workflow())
        assert (response.status_code, response.json()["code"]) == (422, "workflow_id_mismatch")

    async def test_authentication_that_cannot_be_checked_is_refused(self, control_plane: ControlPlane) -> None:
        document = workflow(trigger=webhook("greet", auth={"type": "hmac", "secret": "s"}))
        response = await control_plane.api.post(URL, json=document)
        assert response.status_code == 422

    async def test_too_large(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post(URL, content=b" " * 4_000_001)
        assert (response.status_code, response.json()["code"]) == (413, "too_large")

    async def test_route_of_another_workflow(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.api.post("/api/v1/workflows/rival/publish", json=workflow(id="rival"))
        assert (response.status_code, response.json()["code"]) == (409, "webhook_route_taken")
        # Nothing of it is stored.
        refused = await control_plane.api.post("/api/v1/workflows/execute", json={"workflow_id": "rival"})
        assert refused.status_code == 404
        assert (await control_plane.runtime.get("/runtime/v1/release")).json()["release"] == "1"

    async def test_same_path_another_method(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        document = workflow(id="rival", trigger=webhook("greet", method="PUT"))
        assert (await control_plane.publish(document))["version"] == 1

    async def test_route_that_was_given_up_is_free(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        await control_plane.publish(workflow(trigger=webhook("moved")))
        assert (await control_plane.publish(workflow(id="rival")))["version"] == 1
        gone = await control_plane.public.post("/webhook/default/greet", json={"name": "Ann"})
        assert gone.json()["workflow_id"] == "rival"

    async def test_many_at_once_make_one_line_of_releases(self, control_plane: ControlPlane) -> None:
        documents = [workflow(id=f"w{number}", trigger=webhook(f"w{number}")) for number in range(8)]
        published: list[dict[str, Any]] = await asyncio.gather(*map(control_plane.publish, documents))
        assert sorted(int(body["release"]) for body in published) == list(range(1, 9))
        release = (await control_plane.runtime.get("/runtime/v1/release")).json()
        assert len(release["artifacts"]) == 16

    async def test_same_workflow_at_once_is_one_version(self, control_plane: ControlPlane) -> None:
        answers = await asyncio.gather(*(control_plane.publish() for _ in range(4)))
        assert {body["version"] for body in answers} == {1}

    async def test_airflow_is_told_after_the_commit(self, control_plane: ControlPlane) -> None:
        told: list[str] = []

        async def push() -> None:
            told.append((await control_plane.runtime.get("/runtime/v1/release")).json()["release"])

        control_plane.app.state.airflow.push = push
        await control_plane.publish()
        await control_plane.publish()
        assert told == ["1"]
