"""Who may do what with templates."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from api.settings import Settings
from tests.api.agents.designing import make_agent
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.templates.conftest import TEMPLATES

pytestmark = pytest.mark.platform


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The settings of the other tests, with a secret key: people log in."""
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


async def test_viewers_and_keys(control_plane: ControlPlane) -> None:
    people = People(control_plane)
    agent = await make_agent(control_plane)
    developer, viewer = await people.client("developer"), await people.client("viewer")
    of_agent = {"name": "T", "agent_id": agent.id}
    made = await developer.post(TEMPLATES, json=of_agent)
    assert made.status_code == 201, made.text
    url = made.headers["location"]
    for readable in (TEMPLATES, url, f"{TEMPLATES}/support_triage"):
        assert (await viewer.get(readable)).status_code == 200
    assert (await viewer.post(f"{url}/preview")).status_code == 200

    async def missing(client: Any, method: str, path: str, body: Any = None) -> Any:
        answer = await client.request(method, path, json=body, headers={"if-match": "*"})
        assert answer.status_code == 403, f"{method} {path}: {answer.text}"
        return answer.json()["permission"]

    use = f"{url}/instantiate", {"name": "X"}
    assert await missing(viewer, "POST", TEMPLATES, of_agent) == "template:create"
    assert await missing(viewer, "PATCH", url, {"name": "X"}) == "template:edit"
    assert await missing(viewer, "DELETE", url) == "template:edit"
    assert await missing(viewer, "POST", *use) == "agent:create"

    async def with_key(*permissions: str) -> Any:
        key = {"name": "K", "permissions": permissions, "expires_at": None}
        return people.with_token((await developer.post("/api/v1/api-keys", json=key)).json()["key"])

    # Nobody reads an agent by way of a template.
    assert await missing(await with_key("template:*"), "POST", TEMPLATES, of_agent) == "agent:read"
    assert await missing(await with_key("agent:create"), "POST", *use) == "template:read"
    for method, path in (("GET", TEMPLATES), ("GET", url), ("POST", f"{url}/preview")):
        assert await missing(await with_key("agent:*"), method, path) == "template:read"
    assert await missing(await with_key("agent:read", "variable:read"), "GET", "/api/v1/export") == "template:read"
    without = ("agent:*", "variable:*")
    assert await missing(await with_key(*without), "POST", "/api/v1/import", {}) == "template:create"
