"""GET /runtime/v1/release and /releases/{n}, POST /runtime/v1/artifacts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.control_plane import ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform


async def release(control_plane: ControlPlane, path: str = "release") -> dict[str, Any]:
    """Return the control plane's answer, the files as name -> digest."""
    body: dict[str, Any] = (await control_plane.runtime.get(f"/runtime/v1/{path}")).raise_for_status().json()
    body["artifacts"] = {entry["name"]: entry["sha256"] for entry in body["artifacts"]}
    return body


async def publish(control_plane: ControlPlane, *names: str, label: str = "1") -> None:
    for name in names:
        await control_plane.publish(workflow(id=name, trigger=webhook(name), version=label))


class TestGetRelease:
    async def test_keeps_its_files(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        before = await release(control_plane)
        await control_plane.publish(workflow(name="Other"))
        assert await release(control_plane, "releases/1") == before

    async def test_before_the_first_publish(self, control_plane: ControlPlane) -> None:
        for path in ("release", "releases/0", "release?since=0", "release?since=x"):
            body = await release(control_plane, path)
            assert body == {"release": "0", "since": None, "artifacts": {}, "removed": []}

    async def test_changes_since_a_release(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, "one", "two")
        await publish(control_plane, "two", "three", label="2")
        everything = (await release(control_plane))["artifacts"]
        for since, names in (("2", ["three", "two"]), ("3", ["three"]), ("4", [])):
            body = await release(control_plane, f"release?since={since}")
            assert (body["release"], body["since"], body["removed"]) == ("4", since, [])
            files = sorted(f"default__{name}{ending}" for name in names for ending in (".plan.json", ".py"))
            assert body["artifacts"] == {name: everything[name] for name in files}

    async def test_changes_between_old_releases(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, "one", "two", "three")
        body = await release(control_plane, "releases/2?since=1")
        assert list(body["artifacts"]) == ["default__two.plan.json", "default__two.py"]

    @pytest.mark.parametrize("since", ["9", "x", "-1", "9" * 40])
    async def test_since_what_never_was_is_everything(self, control_plane: ControlPlane, since: str) -> None:
        await publish(control_plane, "one")
        body = await release(control_plane, f"release?since={since}")
        assert (body["since"], len(body["artifacts"])) == (None, 2)

    async def test_back_to_the_first_content(self, control_plane: ControlPlane) -> None:
        for label in ("1", "2", "1"):
            await publish(control_plane, "one", label=label)
        assert (await release(control_plane, "releases/1"))["artifacts"] == (await release(control_plane))["artifacts"]
        assert len((await release(control_plane, "release?since=1"))["artifacts"]) == 2

    @pytest.mark.parametrize("path", ["releases/7", "releases/x", "releases/" + "9" * 40, "releases/²"])
    async def test_unknown(self, control_plane: ControlPlane, path: str) -> None:
        response = await control_plane.runtime.get(f"/runtime/v1/{path}")
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        for path in ("release", "releases/1"):
            assert (await control_plane.api.get(f"/runtime/v1/{path}")).status_code == 401


class TestGetArtifacts:
    async def test_in_the_order_asked_for(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, "one")
        digests = list((await release(control_plane))["artifacts"].values())
        for asked in (digests, digests[::-1]):
            response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": asked})
            first = int.from_bytes(response.content[:4], "big")
            assert (b'"workflow_id"' in response.content[4 : 4 + first]) == (asked == digests)

    async def test_unknown(self, control_plane: ControlPlane) -> None:
        response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": ["0" * 64]})
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("digests", [[], ["x"], ["0" * 64] * 501], ids=["none", "no digest", "too many"])
    async def test_bad_request(self, control_plane: ControlPlane, digests: list[str]) -> None:
        response = await control_plane.runtime.post("/runtime/v1/artifacts", json={"sha256": digests})
        assert response.status_code == 422

    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.post("/runtime/v1/artifacts", json={"sha256": ["0" * 64]})
        assert response.status_code == 401
