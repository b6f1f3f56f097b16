"""Exporting and importing through the API."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import orjson
import pytest

from api.transfers.zips import as_json, write_zip
from tests.api.agents.designing import AGENTS, Agent, become, make_agent
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform

SECRET = "s3cr3t-value"


async def export(plane: ControlPlane, path: str = "/api/v1/export", **params: Any) -> bytes:
    response = await plane.api.get(path, params=params)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/zip"), response.text
    return response.content


async def bring_in(plane: ControlPlane, content: bytes, **params: Any) -> Any:
    response = await plane.api.post("/api/v1/import", content=content, params=params)
    assert response.status_code == 200, response.text
    return response.json()


async def refused(plane: ControlPlane, content: bytes, **params: Any) -> tuple[int, str]:
    response = await plane.api.post("/api/v1/import", content=content, params=params)
    return response.status_code, response.json()["code"]


def files_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != "manifest.json"}


def archive(document: Any = None, workflow_id: str = "greet", **files: bytes) -> bytes:
    """An archive of one agent; ``files`` replace its files."""
    own = {"agent": as_json({"name": "Greeter", "description": None}), "workflow": as_json(document or workflow())}
    return write_zip({f"agents/{workflow_id}/{name}.json": content for name, content in (own | files).items()})


@pytest.fixture
async def agent(control_plane: ControlPlane) -> Agent:
    """Two versions, a newer draft with a canvas, and variables, one of them secret."""
    agent = await make_agent(control_plane, description="Greets.")
    await agent.publish()
    await agent.publish(workflow(name="Second"))
    assert (await agent.put(workflow(name="Third"), canvas={"x": 1.5})).status_code == 200
    await make_agent(control_plane, workflow(id="other"))
    await control_plane.api.put("/api/v1/variables/plain", json={"value": {"a": [1, True]}})
    await control_plane.api.put("/api/v1/variables/hidden", json={"value": SECRET, "secret": True})
    return agent


class TestExport:
    async def test_agent(self, control_plane: ControlPlane, agent: Agent) -> None:
        files = files_of(await export(control_plane, f"{agent.url}/export"))
        names = ("agent", "canvas", "versions/1", "versions/2", "workflow")
        assert sorted(files) == [f"agents/greet/{name}.json" for name in names]
        assert orjson.loads(files["agents/greet/workflow.json"])["name"] == "Third"
        assert orjson.loads(files["agents/greet/versions/2.json"])["name"] == "Second"
        assert orjson.loads(files["agents/greet/agent.json"]) == {"name": "Greeter", "description": "Greets."}

    async def test_organization(self, control_plane: ControlPlane, agent: Agent) -> None:
        content = await export(control_plane, versions=False)
        files = files_of(content)
        assert {name.split("/")[1] for name in files if "/" in name} == {"greet", "other"}
        assert orjson.loads(files["variables.json"]) == [
            {"environment": "default", "name": "hidden", "secret": True, "value": None},
            {"environment": "default", "name": "plain", "secret": False, "value": {"a": [1, True]}},
        ]
        assert not any(SECRET.encode() in each or b"Theirs" in each for each in files.values())
        assert content == await export(control_plane, versions=False)

    async def test_draft_to_the_byte(self, control_plane: ControlPlane) -> None:
        source = b'{"id":"exact","n":1.50,  "n":2}'
        body, headers = b'{"name":"Exact","workflow":' + source + b"}", {"content-type": "application/json"}
        created = await control_plane.api.post(AGENTS, content=body, headers=headers)
        files = files_of(await export(control_plane, f"{AGENTS}/{created.json()['id']}/export"))
        assert files["agents/exact/workflow.json"] == source


class TestImport:
    async def test_into_another_organisation(self, control_plane: ControlPlane, agent: Agent) -> None:
        content = await export(control_plane)
        await become(control_plane, "fresh")
        wanted = await bring_in(control_plane, content, dry_run=True)
        assert wanted["dry_run"] is True
        assert (await control_plane.api.get(AGENTS)).json()["agents"] == []
        report = await bring_in(control_plane, content)
        assert report == wanted | {"dry_run": False}
        assert {each["workflow_id"]: each["change"] for each in report["agents"]} == {
            "greet": "create",
            "other": "create",
        }
        assert {each["name"]: each["change"] for each in report["variables"]} == {
            "hidden": "needs_value",
            "plain": "create",
        }
        shown = (await control_plane.api.get(AGENTS)).json()["agents"]
        assert {(each["workflow_id"], each["status"], each["version"]) for each in shown} == {
            ("greet", "draft", None),
            ("other", "draft", None),
        }
        assert agent.id not in {each["id"] for each in shown}
        again = await bring_in(control_plane, content)
        assert (again["changed"], {each["change"] for each in again["agents"]}) == (False, {"same"})
        assert (
            files_of(await export(control_plane, versions=False))["agents/greet/workflow.json"]
            == files_of(content)["agents/greet/workflow.json"]
        )
        await become(control_plane, "default")

    async def test_same_changes_nothing(self, control_plane: ControlPlane, agent: Agent) -> None:
        before = await agent.show()
        report = await bring_in(control_plane, await export(control_plane), existing="replace")
        assert report["changed"] is False
        assert await agent.show() == before

    async def test_what_differs(self, control_plane: ControlPlane, agent: Agent) -> None:
        content = await export(control_plane)
        await agent.put(workflow(name="Fourth"), canvas={"x": 1.5})
        await control_plane.api.put("/api/v1/variables/plain", json={"value": 1})
        before = await agent.show()
        assert await refused(control_plane, content) == (409, "import_conflict")
        kept = await bring_in(control_plane, content, existing="keep")
        assert (kept["changed"], await agent.show()) == (False, before)
        dry = await bring_in(control_plane, content, existing="replace", dry_run=True)
        assert [each for each in dry["agents"] if each["change"] == "replace"] == [
            {"workflow_id": "greet", "change": "replace", "differs": ["workflow"]}
        ]
        assert await agent.show() == before
        await bring_in(control_plane, content, existing="replace")
        assert (await control_plane.api.get(f"{agent.url}/workflow")).json()["workflow"]["name"] == "Third"
        assert (await control_plane.api.get("/api/v1/variables/plain")).json()["value"] == {"a": [1, True]}
        assert (await agent.show())["version"] == 2

    async def test_a_secret_stays_secret(self, control_plane: ControlPlane, agent: Agent) -> None:
        entry = {"environment": "default", "name": "hidden", "secret": False, "value": "open"}
        content = write_zip({"variables.json": as_json([entry])})
        assert await refused(control_plane, content, existing="replace") == (409, "import_conflict")
        assert (await control_plane.api.get("/api/v1/variables/hidden")).json()["secret"] is True

    async def test_true_is_not_one(self, control_plane: ControlPlane, agent: Agent) -> None:
        entry = {"environment": "default", "name": "plain", "secret": False, "value": {"a": [1, 1]}}
        report = await bring_in(control_plane, write_zip({"variables.json": as_json([entry])}), existing="replace")
        assert report["variables"][0]["change"] == "replace"

    async def test_all_or_nothing(self, control_plane: ControlPlane) -> None:
        entry = {"environment": "default", "name": "large", "secret": False, "value": "x" * 20_000}
        files = files_of(archive()) | {"variables.json": as_json([entry])}
        assert await refused(control_plane, write_zip(files)) == (422, "invalid_request")
        assert (await control_plane.api.get(AGENTS)).json()["agents"] == []

    @pytest.mark.parametrize(
        "content",
        [
            archive(workflow(id="another")),
            archive(agent=b"{}"),
            archive(agent=b'{"name":"x","description":null,"id":"01990000-0000-7000-8000-000000000002"}'),
            archive(agent=b'{"name":"\\u0000","description":null}'),
            archive(workflow=b"[]"),
            archive(workflow=b"{"),
            archive(workflow=b"\xff"),
            archive(workflow=b'{"a":' * 101 + b"1" + b"}" * 101),
            archive(canvas=b"[]"),
            write_zip({"agents/greet/workflow.json": b"{}"}),
            write_zip({"variables.json": b'[{"name":"x"}]'}),
            write_zip(
                {"variables.json": as_json([{"environment": "d", "name": "x", "secret": False, "value": 1}] * 2)}
            ),
            b"",
            b"no zip",
        ],
    )
    async def test_refused(self, control_plane: ControlPlane, content: bytes) -> None:
        assert await refused(control_plane, content) == (422, "invalid_archive")
        assert (await control_plane.api.get(AGENTS)).json()["agents"] == []

    async def test_too_large(self, control_plane: ControlPlane) -> None:
        limit = control_plane.app.state.settings.import_max_bytes
        assert await refused(control_plane, b"x" * (limit + 1)) == (413, "too_large")
