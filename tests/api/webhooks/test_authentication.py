"""Who may call a webhook: signed messages, keys; each once, in time, or not at all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_limits import rows
from tests.api.webhooks.signing import (
    BODY,
    JSON,
    SECRET,
    SIGNERS,
    URL,
    auth_of,
    count,
    github,
    now,
    publish,
    standard,
    stripe,
)

pytestmark = pytest.mark.platform


async def post(plane: ControlPlane, headers: dict[str, str], body: bytes = BODY, url: str = URL) -> Any:
    return await plane.public.post(url, content=body, headers=JSON | headers)


@pytest.mark.parametrize("scheme", SIGNERS)
class TestSigned:
    async def test_starts_one_however_often_it_comes(self, control_plane: ControlPlane, scheme: str) -> None:
        await publish(control_plane, auth_of(scheme))
        headers = SIGNERS[scheme](BODY, now())
        answers = await asyncio.gather(*(post(control_plane, headers) for _ in range(100)))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer.json()["execution_id"] for answer in answers}) == 1
        assert await count(control_plane) == 1

    async def test_forged(self, control_plane: ControlPlane, scheme: str) -> None:
        await publish(control_plane, auth_of(scheme))
        headers = SIGNERS[scheme](BODY, now())
        for sent, body in (({}, BODY), (headers, b'{"name": "Eve"}'), (headers, BODY + b"\n")):
            answer = await post(control_plane, sent, body)
            assert (answer.status_code, answer.json()["code"]) == (401, "webhook_unauthorized")
            assert answer.headers["www-authenticate"]
            assert SECRET not in answer.text
        assert await count(control_plane) == 0

    async def test_unsigned_changes_make_no_new_message(self, control_plane: ControlPlane, scheme: str) -> None:
        await publish(control_plane, auth_of(scheme))
        headers = SIGNERS[scheme](BODY, now())
        first = await post(control_plane, headers)
        assert first.status_code == 202
        for again in (
            await post(control_plane, headers, url=f"{URL}?admin=1"),
            await post(control_plane, headers | {"idempotency-key": "new"}),
            await post(control_plane, headers | {"x-any": "thing"}),
        ):
            assert again.json()["execution_id"] == first.json()["execution_id"]
        assert await count(control_plane) == 1

    async def test_without_its_secret_nobody_gets_in(self, control_plane: ControlPlane, scheme: str) -> None:
        await publish(control_plane, auth_of(scheme), secret=None)
        answer = await post(control_plane, SIGNERS[scheme](BODY, now()))
        assert (answer.status_code, answer.json()["code"]) == (503, "webhook_secret_missing")
        # A variable of the name that everybody can read is no secret.
        body = {"value": SECRET}
        assert (await control_plane.api.put("/api/v1/variables/hook_secret", json=body)).status_code == 201
        assert (await post(control_plane, SIGNERS[scheme](BODY, now()))).status_code == 503
        assert await count(control_plane) == 0

    async def test_a_refused_body_is_not_remembered(self, control_plane: ControlPlane, scheme: str) -> None:
        await publish(control_plane, auth_of(scheme))
        body = b'{"name": 1}'
        headers = SIGNERS[scheme](body, now())
        assert [(await post(control_plane, headers, body)).status_code for _ in range(2)] == [422, 422]
        text = await control_plane.public.post(URL, content=BODY, headers=SIGNERS[scheme](BODY, now()))
        assert text.status_code == 415


@pytest.mark.parametrize("scheme", [name for name in SIGNERS if name != "github"])
async def test_a_late_signature_starts_nothing(control_plane: ControlPlane, scheme: str) -> None:
    await publish(control_plane, auth_of(scheme))
    for seconds in (-301, 305):
        answer = await post(control_plane, SIGNERS[scheme](BODY, now() + seconds))
        assert (answer.status_code, "300 s" in answer.json()["detail"]) == (401, True)
    assert await count(control_plane) == 0


async def test_a_delivery_that_is_signed_anew_is_the_same(control_plane: ControlPlane) -> None:
    await publish(control_plane, auth_of("standard_webhooks"))
    answers = [await post(control_plane, standard(BODY, now() - ago)) for ago in (60, 0)]
    assert len({answer.json()["execution_id"] for answer in answers}) == 1
    await post(control_plane, standard(BODY, now(), "msg_2"))
    assert await count(control_plane) == 2


async def test_what_a_signature_is_remembered_for(control_plane: ControlPlane) -> None:
    await publish(control_plane, auth_of("github"))
    await post(control_plane, github(BODY, 0))
    query = "SELECT scope, expires_at - received_at > interval '29 days' FROM idempotency_keys"
    assert await rows(control_plane, query) == [("signed POST greet", True)]
    # The same signature at another webhook is another message.
    await control_plane.publish(
        workflow(id="other", trigger={"type": "webhook", "config": {"path": "other", "auth": auth_of("github")}})
    )
    await post(control_plane, github(BODY, 0), url="/webhook/default/other")
    assert await count(control_plane) == 2


async def test_a_new_secret_counts_at_once(control_plane: ControlPlane) -> None:
    await publish(control_plane, auth_of("stripe"))
    await publish(control_plane, auth_of("stripe"), secret="another")
    assert (await post(control_plane, stripe(BODY, now()))).status_code == 401


async def test_a_secret_that_another_key_sealed(control_plane: ControlPlane) -> None:
    await publish(control_plane, auth_of("github"))
    await rows(control_plane, "UPDATE variables SET sealed = set_byte(sealed, 20, 1 # get_byte(sealed, 20))")
    assert (await post(control_plane, github(BODY, 0))).status_code == 503


class TestApiKey:
    async def test_of_a_secret(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, {"type": "api_key", "header": "X-Partner", "secret": "hook_secret"})
        for headers in ({}, {"x-partner": "no"}, {"x-partner": SECRET[:-1]}, {"x-api-key": SECRET}):
            assert (await post(control_plane, headers)).status_code == 401
        assert (await post(control_plane, {"x-partner": SECRET})).status_code == 202
        stored = await rows(control_plane, "SELECT CAST(trigger AS text) FROM workflow_executions")
        assert SECRET not in str(stored)

    async def make_key(self, plane: ControlPlane, *permissions: str) -> dict[str, Any]:
        body = {"name": "hook", "permissions": [*permissions], "expires_at": None}
        answer = await plane.api.post("/api/v1/api-keys", json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def test_of_the_organization(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, {"type": "api_key"}, secret=None)
        key = await self.make_key(control_plane, "execution:run")
        assert (await post(control_plane, {"x-api-key": key["key"]})).status_code == 202
        assert (await post(control_plane, {"authorization": f"Bearer {key['key']}"})).status_code == 202
        assert (await control_plane.api.delete(f"/api/v1/api-keys/{key['id']}")).status_code == 204
        assert (await post(control_plane, {"x-api-key": key["key"]})).status_code == 401
        assert await count(control_plane) == 2

    async def test_that_may_not_start_anything(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, {"type": "api_key"}, secret=None)
        key = await self.make_key(control_plane, "execution:read")
        for headers in ({"x-api-key": key["key"]}, {"x-api-key": "api-token"}, {"authorization": "Bearer api-token"}):
            assert (await post(control_plane, headers)).status_code == 401

    async def test_of_another_organization(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, {"type": "api_key"}, secret=None)
        key = await self.make_key(control_plane, "execution:run")
        for statement in (
            "INSERT INTO organizations (slug, name) VALUES ('elsewhere', 'E')",
            "UPDATE api_keys SET organization_id = (SELECT id FROM organizations WHERE slug = 'elsewhere')",
        ):
            await rows(control_plane, statement)
        assert (await post(control_plane, {"x-api-key": key["key"]})).status_code == 401
