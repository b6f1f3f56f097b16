"""Templates in exports and imports."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from api.transfers.layout import folder_of
from api.transfers.zips import as_json, write_zip
from tests.api.agents.designing import become
from tests.api.control_plane import ControlPlane, workflow
from tests.api.transfers.test_transfer_endpoints import bring_in, export, files_of, refused

pytestmark = pytest.mark.platform

TEMPLATES = "/api/v1/templates"
NAME = "Größe / ../x\n"
FIELDS = {"name": NAME, "description": "D", "category": "c", "tags": ["b", "a"], "input_example": {"n": 1.5}}


async def own(plane: ControlPlane) -> list[dict[str, Any]]:
    """Return the own templates, without what the import gives them."""
    listed = (await plane.api.get(TEMPLATES, params={"source": "own"})).json()["templates"]
    found = [(await plane.api.get(f"{TEMPLATES}/{each['id']}")).json() for each in listed]
    given = (*FIELDS, "workflow", "canvas")
    return [{name: each[name] for name in given} for each in found]


@pytest.fixture
async def made(control_plane: ControlPlane) -> dict[str, Any]:
    body = FIELDS | {"workflow": workflow(), "canvas": {"x": 1}}
    answer = await control_plane.api.post(TEMPLATES, json=body)
    assert answer.status_code == 201, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_into_another_organisation(control_plane: ControlPlane, made: dict[str, Any]) -> None:
    content = await export(control_plane)
    files, prefix = files_of(content), folder_of(NAME)
    assert {name for name in files if name.startswith("templates/")} == {
        f"{prefix}{name}.json" for name in ("template", "workflow", "canvas")
    }
    assert orjson.loads(files[f"{prefix}template.json"]) == FIELDS
    before = await own(control_plane)
    await become(control_plane, "fresh")
    report = await bring_in(control_plane, content, dry_run=True)
    assert (report["templates"], await own(control_plane)) == ([{"name": NAME, "change": "create", "differs": []}], [])
    await bring_in(control_plane, content)
    assert await own(control_plane) == before
    again = await bring_in(control_plane, content, existing="replace")
    assert (again["changed"], again["templates"][0]["change"]) == (False, "same")
    assert await export(control_plane) == content
    await become(control_plane, "default")


async def test_what_differs(control_plane: ControlPlane, made: dict[str, Any]) -> None:
    content, before = await export(control_plane), await own(control_plane)
    changes = {"tags": ["a"], "workflow": workflow(name="New"), "canvas": None, "input_example": {"n": True}}
    url = f"{TEMPLATES}/{made['id']}"
    changed = await control_plane.api.patch(url, json=changes, headers={"if-match": "*"})
    newer = await own(control_plane)
    assert await refused(control_plane, content) == (409, "import_conflict")
    assert (await bring_in(control_plane, content, existing="keep"))["changed"] is False
    assert await own(control_plane) == newer
    report = await bring_in(control_plane, content, existing="replace")
    assert report["templates"] == [
        {"name": NAME, "change": "replace", "differs": ["tags", "input_example", "workflow", "canvas"]}
    ]
    assert await own(control_plane) == before
    assert (await control_plane.api.get(url)).headers["etag"] != changed.headers["etag"]


async def test_without_templates(control_plane: ControlPlane) -> None:
    report = await bring_in(control_plane, write_zip({"variables.json": b"[]"}))
    assert (report["changed"], report["templates"]) == (False, [])


def archive(name: str = "X", folder: str | None = None, **files: bytes) -> bytes:
    files = {"template": as_json({"name": name}), "workflow": b"{}"} | files
    return write_zip({f"{folder or folder_of(name)}{each}.json": content for each, content in files.items()})


async def test_refused(control_plane: ControlPlane) -> None:
    for content in (
        archive(folder=folder_of("Y")),
        archive(folder="templates/x/"),
        archive(folder="templates/0123456789ABCDEF/"),
        archive(template=b"{}"),
        archive(template=b'{"name":"X","id":"01990000-0000-7000-8000-000000000002"}'),
        archive(template=b'{"name":"X","tags":["a","a"]}'),
        archive(workflow=b"[]"),
        archive(canvas=b"[]"),
        archive(agent=b"{}"),
        write_zip({f"{folder_of('X')}workflow.json": b"{}"}),
        write_zip({f"{folder_of('X')}template.json": b'{"name":"X"}'}),
    ):
        assert await refused(control_plane, content) == (422, "invalid_archive")
    assert await own(control_plane) == []


async def test_too_large(control_plane: ControlPlane) -> None:
    content = archive(template=as_json({"name": "X", "input_example": "x" * 100_000}))
    assert await refused(control_plane, content) == (413, "too_large")
