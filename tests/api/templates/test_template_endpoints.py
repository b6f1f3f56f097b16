"""/api/v1/templates: own and public ones, and agents that are made from them."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from api.templates.contents import MAX_EXAMPLE_BYTES
from api.templates.library import TEMPLATES as PUBLIC
from tests.api.agents.designing import AGENTS, become, make_agent
from tests.api.control_plane import ControlPlane, workflow
from tests.api.templates.conftest import TEMPLATES

pytestmark = pytest.mark.platform

NOBODY = "01990000-0000-7000-8000-0000000000ff"


async def make(plane: ControlPlane, name: str = "Greeter", **fields: Any) -> dict[str, Any]:
    """Make a template of the small workflow."""
    body = {"name": name} | ({} if "agent_id" in fields else {"workflow": workflow()}) | fields
    response = await plane.api.post(TEMPLATES, json=body)
    assert response.status_code == 201, response.text
    made: dict[str, Any] = response.json()
    assert response.headers["location"] == f"{TEMPLATES}/{made['id']}"
    return made


async def listed(plane: ControlPlane, **params: Any) -> list[str]:
    """Return the names on all pages of a list."""
    names: list[str] = []
    while True:
        page = await plane.api.get(TEMPLATES, params=params)
        assert page.status_code == 200, page.text
        names += [each["name"] for each in page.json()["templates"]]
        if page.json()["next"] is None:
            return names
        params["before"] = page.json()["next"]


def said(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


class TestList:
    async def test_own_ones_then_public_ones(self, control_plane: ControlPlane) -> None:
        for name in ("First", "Second", "Third"):
            await make(control_plane, name)
        own, public = ["Third", "Second", "First"], [each.name for each in PUBLIC.values()]
        assert await listed(control_plane) == own + public
        for limit in (1, 2, 3, 4, 8):
            assert await listed(control_plane, limit=limit) == own + public
            assert await listed(control_plane, limit=limit, source="own") == own
            assert await listed(control_plane, limit=limit, source="public") == public

    async def test_filters(self, control_plane: ControlPlane) -> None:
        await make(control_plane, "Sorts", category="support", tags=["ai", "mail"])
        await make(control_plane, "Counts 100%", description="Adds up REFUNDS.", category="finance")
        assert await listed(control_plane, category="support") == ["Sorts", "Support triage"]
        assert await listed(control_plane, tag="mail") == ["Sorts"]
        assert await listed(control_plane, q="refunds") == ["Counts 100%", "Refund approval"]
        assert await listed(control_plane, q="0%") == ["Counts 100%"]
        assert await listed(control_plane, q="%") == ["Counts 100%"]
        assert await listed(control_plane, q="refunds", category="finance", source="public") == ["Refund approval"]

    async def test_nothing_of_others(self, control_plane: ControlPlane) -> None:
        assert await listed(control_plane, source="own") == []
        for asked in ({"q": "Theirs"}, {"q": "greeter"}, {"category": "greetings"}, {"tag": "hello"}):
            assert await listed(control_plane, **asked) == []

    async def test_refused(self, control_plane: ControlPlane) -> None:
        wrong: list[dict[str, Any]] = [{"before": "x"}, {"before": ""}, {"source": "x"}, {"q": "\0"}, {"limit": 0}]
        for params in (*wrong, {"before": "\0"}, {"category": "x" * 101}, {"tag": "\0"}):
            assert (await control_plane.api.get(TEMPLATES, params=params)).status_code == 422, params

    async def test_a_page_behind_what_was_deleted(self, control_plane: ControlPlane) -> None:
        for name in ("First", "Second"):
            await make(control_plane, name)
        page = (await control_plane.api.get(TEMPLATES, params={"limit": 1, "source": "own"})).json()
        assert (await control_plane.api.delete(f"{TEMPLATES}/{page['next']}")).status_code == 204
        assert await listed(control_plane, source="own", before=page["next"]) == ["First"]


class TestCreate:
    async def test_of_a_workflow_to_the_byte(self, control_plane: ControlPlane) -> None:
        source = '{ "id":"greet",\n "name": "\\u0041\\u0000", "big": 1.50e+2, "twice": 1, "twice": 2 }'
        body = '{"name": "Exact", "canvas": {"x": 1.5}, "workflow" : ' + source + "}"
        headers = {"content-type": "application/json"}
        made = await control_plane.api.post(TEMPLATES, content=body, headers=headers)
        got = await control_plane.api.get(f"{TEMPLATES}/{made.json()['id']}")
        assert (made.status_code, made.text, made.headers["etag"]) == (201, got.text, got.headers["etag"])
        assert f'"workflow":{source},"canvas":{{"x":1.5}}' in got.text

    async def test_fields(self, control_plane: ControlPlane) -> None:
        fields = {"description": "D", "category": "c", "tags": ["b", "a"], "input_example": {"name": "A\0"}}
        made = await make(control_plane, **fields)
        assert made.items() >= {**fields, "source": "own", "created_by": "operator", "updated_by": "operator"}.items()
        shown = (await control_plane.api.get(TEMPLATES)).json()["templates"][0]
        assert shown == {name: made[name] for name in shown}
        assert shown.keys() == made.keys() - {"workflow", "canvas", "input_example"}

    async def test_of_a_draft(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        await agent.publish()
        await agent.put(workflow(name="Newer"), canvas={"x": 1})
        made = await make(control_plane, agent_id=agent.id)
        assert (made["workflow"]["name"], made["canvas"]) == ("Newer", {"x": 1})
        old = await make(control_plane, "Old", agent_id=agent.id, version=1)
        assert (old["workflow"], old["canvas"]) == (workflow(), None)

    async def test_of_what_is_not_there(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        for origin in ({"agent_id": NOBODY}, {"agent_id": agent.id, "version": 1}):
            response = await control_plane.api.post(TEMPLATES, json={"name": "X"} | origin)
            assert said(response) == (404, "not_found")

    async def test_name_taken(self, control_plane: ControlPlane) -> None:
        await make(control_plane)
        again = await control_plane.api.post(TEMPLATES, json={"name": "Greeter", "workflow": {}})
        assert said(again) == (409, "template_name_taken")
        assert await listed(control_plane, source="own") == ["Greeter"]

    async def test_refused(self, control_plane: ControlPlane) -> None:
        bodies: list[dict[str, Any]] = [
            {"name": "X"},
            {"name": "X", "workflow": None},
            {"name": "X", "workflow": []},
            {"name": "X", "workflow": {}, "agent_id": NOBODY},
            {"name": "X", "workflow": {}, "version": 1},
            {"name": "X", "agent_id": NOBODY, "canvas": {}},
            {"name": "X", "agent_id": "x"},
            {"name": "X", "agent_id": NOBODY, "version": 0},
            {"name": " ", "workflow": {}},
            {"name": "\0", "workflow": {}},
            {"name": "X", "workflow": {}, "tags": ["a", "a"]},
            {"name": "X", "workflow": {}, "tags": ["a", " a"]},
            {"name": "X", "workflow": {}, "tags": [""]},
            {"name": "X", "workflow": {}, "tags": [str(n) for n in range(21)]},
            {"name": "X", "workflow": {}, "category": "two\nlines"},
            {"name": "X", "workflow": {}, "organization_id": NOBODY},
        ]
        for body in bodies:
            assert said(await control_plane.api.post(TEMPLATES, json=body)) == (422, "invalid_request"), body
        assert await listed(control_plane, source="own") == []

    async def test_too_large(self, control_plane: ControlPlane) -> None:
        for large in (
            {"workflow": {"x": "x" * 1_000_001}},
            {"workflow": {}, "canvas": {"x": "x" * 500_001}},
            {"workflow": {}, "input_example": "x" * MAX_EXAMPLE_BYTES},
        ):
            assert said(await control_plane.api.post(TEMPLATES, json={"name": "X"} | large)) == (413, "too_large")


class TestGet:
    async def test_public(self, control_plane: ControlPlane) -> None:
        answers = []
        for organization in ("another", "default"):
            await become(control_plane, organization)
            answers.append([await control_plane.api.get(f"{TEMPLATES}/{each}") for each in PUBLIC])
        for first, second, public in zip(*answers, PUBLIC.values(), strict=True):
            assert (first.status_code, first.content) == (200, second.content)
            shown = first.json()
            assert (shown["source"], shown["input_example"]) == ("public", public.example)
            assert shown["workflow"] == orjson.loads(public.source)
            assert first.headers["etag"] == shown["etag"]

    async def test_unknown(self, control_plane: ControlPlane) -> None:
        for template_id in (NOBODY, "nothing", "SUPPORT_TRIAGE", "x" * 300):
            assert said(await control_plane.api.get(f"{TEMPLATES}/{template_id}")) == (404, "not_found")

    async def test_preview(self, control_plane: ControlPlane) -> None:
        good, bad = await make(control_plane), await make(control_plane, "Bad", workflow={"id": "x"})
        preview = await control_plane.api.post(f"{TEMPLATES}/{good['id']}/preview")
        assert (preview.status_code, preview.json()["valid"]) == (200, True)
        preview = await control_plane.api.post(f"{TEMPLATES}/{bad['id']}/preview")
        assert (preview.status_code, preview.json()["valid"]) == (200, False)
        assert preview.json()["diagnostics"]


class TestUpdate:
    async def patch(self, plane: ControlPlane, template: dict[str, Any], etag: str, **changes: Any) -> httpx.Response:
        return await plane.api.patch(f"{TEMPLATES}/{template['id']}", json=changes, headers={"if-match": etag})

    async def test_only_what_is_sent(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane, category="c", tags=["t"], input_example={"n": 1}, canvas={"x": 1})
        changed = await self.patch(control_plane, made, made["etag"], tags=[], description="D")
        assert changed.status_code == 200, changed.text
        named = ("etag", "updated_at")
        rest = {name: value for name, value in made.items() if name not in named}
        assert changed.json().items() >= (rest | {"tags": [], "description": "D"}).items()
        assert changed.json()["etag"] != made["etag"]
        newer = workflow(name="Newer")
        changed = await self.patch(
            control_plane, made, changed.json()["etag"], workflow=newer, canvas=None, input_example=None
        )
        shown = (await control_plane.api.get(f"{TEMPLATES}/{made['id']}")).json()
        assert shown == changed.json()
        assert (shown["workflow"], shown["canvas"], shown["input_example"]) == (newer, None, None)
        assert (shown["category"], shown["description"]) == ("c", "D")

    async def test_nobodys_change_is_lost(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane)
        assert (await self.patch(control_plane, made, made["etag"], name="Theirs")).status_code == 200
        late = await self.patch(control_plane, made, made["etag"], name="Mine")
        current = (await control_plane.api.get(f"{TEMPLATES}/{made['id']}")).headers["etag"]
        assert (*said(late), late.headers["etag"]) == (412, "precondition_failed", current)
        without = await control_plane.api.patch(f"{TEMPLATES}/{made['id']}", json={"name": "Mine"})
        assert said(without) == (428, "precondition_required")
        assert await listed(control_plane, source="own") == ["Theirs"]

    async def test_nothing_sent_changes_nothing(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane)
        assert (await self.patch(control_plane, made, "*")).json() == made

    async def test_name_taken(self, control_plane: ControlPlane) -> None:
        made, other = await make(control_plane), await make(control_plane, "Other")
        assert said(await self.patch(control_plane, made, "*", name="Other")) == (409, "template_name_taken")
        assert (await self.patch(control_plane, other, "*", name="Other")).status_code == 200

    async def test_refused(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane)
        changes: list[dict[str, Any]] = [{"name": None}, {"workflow": None}, {"tags": None}, {"agent_id": NOBODY}]
        for change in changes:
            assert said(await self.patch(control_plane, made, "*", **change)) == (422, "invalid_request")

    async def test_too_large(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane)
        large = await self.patch(control_plane, made, "*", canvas={"x": "x" * 500_001})
        assert said(large) == (413, "too_large")

    async def test_public_ones_stay(self, control_plane: ControlPlane) -> None:
        url = f"{TEMPLATES}/support_triage"
        before = (await control_plane.api.get(url)).content
        changed = await control_plane.api.patch(url, json={"name": "Mine"}, headers={"if-match": "*"})
        assert said(changed) == (409, "public_template")
        assert said(await control_plane.api.delete(url)) == (409, "public_template")
        assert (await control_plane.api.get(url)).content == before


class TestDelete:
    async def test_gone(self, control_plane: ControlPlane) -> None:
        made = await make(control_plane)
        used = await control_plane.api.post(f"{TEMPLATES}/{made['id']}/instantiate", json={"name": "Used"})
        for status in (204, 404):
            assert (await control_plane.api.delete(f"{TEMPLATES}/{made['id']}")).status_code == status
        assert (await control_plane.api.get(f"{AGENTS}/{used.json()['id']}")).status_code == 200


class TestInstantiate:
    async def use(self, plane: ControlPlane, template_id: str, **body: Any) -> httpx.Response:
        return await plane.api.post(f"{TEMPLATES}/{template_id}/instantiate", json=body)

    async def test_public(self, control_plane: ControlPlane) -> None:
        for number, public in enumerate(PUBLIC.values()):
            used = await self.use(control_plane, public.id, name=f"Line {number}")
            assert used.status_code == 201, used.text
            agent = used.json()
            assert used.headers["location"] == f"{AGENTS}/{agent['id']}"
            assert (agent["workflow_id"], agent["status"], agent["version"]) == (f"line_{number}", "draft", None)
            assert agent["description"] == public.description
            preview = await control_plane.api.post(f"{AGENTS}/{agent['id']}/preview")
            assert preview.json()["valid"], preview.text

    async def test_two_of_one_template_are_published_beside_it(self, control_plane: ControlPlane) -> None:
        origin = await make_agent(control_plane, canvas={"x": 1})
        await origin.publish()
        template = await make(control_plane, agent_id=origin.id)
        for name in ("Second greeter", "Third greeter"):
            used = (await self.use(control_plane, template["id"], name=name)).json()
            draft = (await control_plane.api.get(f"{AGENTS}/{used['id']}/workflow")).json()
            assert (draft["workflow"]["name"], draft["canvas"]) == (name, {"x": 1})
            published = await control_plane.api.post(f"{AGENTS}/{used['id']}/publish", headers={"if-match": "*"})
            assert published.status_code == 201, published.text
            called = await control_plane.public.post(
                f"/webhook/default/{used['workflow_id'].replace('_', '-')}", json={"name": "Ann"}
            )
            assert called.status_code == 202, called.text

    async def test_conflict(self, control_plane: ControlPlane) -> None:
        template = await make(control_plane)
        await make_agent(control_plane)
        taken = await self.use(control_plane, template["id"], name="Greet")
        assert said(taken) == (409, "workflow_id_taken")
        free = await self.use(control_plane, template["id"], name="Greet", workflow_id="greet_2", description="")
        assert (free.json()["workflow_id"], free.json()["description"]) == ("greet_2", "")

    async def test_of_what_is_no_proper_workflow(self, control_plane: ControlPlane) -> None:
        template = await make(control_plane, workflow={"triggers": [None], "name": 7})
        used = (await self.use(control_plane, template["id"], name="X")).json()
        draft = (await control_plane.api.get(f"{AGENTS}/{used['id']}/workflow")).json()["workflow"]
        assert draft == {"id": "x", "triggers": [None], "name": "X"}

    async def test_refused(self, control_plane: ControlPlane) -> None:
        bodies: list[dict[str, Any]] = [
            {},
            {"name": ""},
            {"name": "X", "workflow_id": "A"},
            {"name": "X", "canvas": {}},
        ]
        for body in bodies:
            assert said(await self.use(control_plane, "support_triage", **body)) == (422, "invalid_request")
        assert said(await self.use(control_plane, NOBODY, name="X")) == (404, "not_found")
