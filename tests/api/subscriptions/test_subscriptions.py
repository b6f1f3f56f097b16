"""Who subscribed hears of our own events: written with what they tell, signed, held back while paused."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from api.subscriptions.events import tell
from api.subscriptions.service import MAX_SUBSCRIPTIONS
from tests.api.control_plane import ControlPlane
from tests.api.deliveries.receiving import dispatching, receiving

pytestmark = pytest.mark.platform


async def subscribe(plane: ControlPlane, url: str, *types: str) -> dict[str, Any]:
    answer = await plane.api.post("/api/v1/subscriptions", json={"url": url, "event_types": list(types)})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def run_and_cancel(plane: ControlPlane) -> str:
    """Begin an execution and end it; return its id."""
    published = await plane.publish()
    execution_id = await plane.execute()
    await plane.lease(execution_id, published["digest"])
    return execution_id


async def types_of(plane: ControlPlane) -> list[str]:
    answer = await plane.api.get("/api/v1/deliveries")
    return [row["event_type"] for row in reversed(answer.json()["deliveries"])]


class TestEvents:
    async def test_of_an_agents_life(self, control_plane: ControlPlane) -> None:
        await subscribe(control_plane, "https://example.com/hook")
        agent = await control_plane.api.post("/api/v1/agents", json={"name": "Mine", "workflow_id": "mine"})
        assert agent.status_code == 201, agent.text
        execution_id = await run_and_cancel(control_plane)
        await control_plane.api.post(f"/api/v1/executions/{await control_plane.execute()}/cancel")
        expected = ["agent.created", "agent.published", "execution.started", "execution.finished"]
        assert await types_of(control_plane) == expected
        started = (await control_plane.api.get("/api/v1/deliveries")).json()["deliveries"][1]
        assert started["execution_id"] == execution_id

    async def test_of_chosen_types_signed_by_each_ones_secret(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            mine = await subscribe(control_plane, receiver.url, "agent.published")
            other = await subscribe(control_plane, "https://example.com", "agent.created")
            await control_plane.publish()
            assert await dispatcher.round() == 1
            ((headers, body),) = receiver.messages
            event = Webhook(mine["secret"]).verify(body, headers)
            assert (event["type"], event["data"]["workflow_id"]) == ("agent.published", "greet")
            with pytest.raises(WebhookVerificationError):
                Webhook(other["secret"]).verify(body, headers)

    async def test_what_did_not_happen_is_not_told(self, control_plane: ControlPlane) -> None:
        await subscribe(control_plane, "https://example.com/hook")
        async with control_plane.database.transaction(control_plane.organization_id) as session:
            await tell(session, control_plane.organization_id, "agent.created", "/", {})
            await session.rollback()
        assert await types_of(control_plane) == []

    async def test_hold_no_input_or_output(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            await subscribe(control_plane, receiver.url)
            await control_plane.publish()
            execution_id = await control_plane.execute({"name": "Secret Ann"})
            await control_plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
            while await dispatcher.round():
                pass
            assert json.loads(receiver.messages[-1][1])["data"]["execution_id"] == execution_id
            assert all(b"Secret Ann" not in body for _, body in receiver.messages)


class TestPause:
    async def test_keeps_messages_until_resumed(self, control_plane: ControlPlane) -> None:
        async with receiving() as receiver, dispatching(control_plane) as dispatcher:
            mine = await subscribe(control_plane, receiver.url)
            base = f"/api/v1/subscriptions/{mine['id']}"
            assert (await control_plane.api.post(f"{base}/pause")).json()["paused"] is True
            await control_plane.publish()
            assert await dispatcher.round() == 0
            assert (await control_plane.api.post(f"{base}/resume")).json()["paused"] is False
            assert await dispatcher.round() == 1
            assert len(receiver.messages) == 1


class TestEndpoints:
    async def test_the_secret_is_shown_once(self, control_plane: ControlPlane) -> None:
        mine = await subscribe(control_plane, "https://example.com/hook", "agent.created", "agent.created")
        assert mine["event_types"] == ["agent.created"]
        for path in ("/api/v1/subscriptions", f"/api/v1/subscriptions/{mine['id']}"):
            answer = await control_plane.api.get(path)
            assert answer.status_code == 200
            assert mine["secret"] not in answer.text

    @pytest.mark.parametrize(
        "body",
        [
            {"url": "ftp://example.com"},
            {"url": "https://a:b@example.com/"},
            {"url": "https://example.com", "event_types": ["order.paid"]},
            {"url": "https://example.com", "secret": "whsec_mine"},
        ],
    )
    async def test_what_cannot_be_subscribed(self, control_plane: ControlPlane, body: dict[str, Any]) -> None:
        assert (await control_plane.api.post("/api/v1/subscriptions", json=body)).status_code == 422

    async def test_too_many(self, control_plane: ControlPlane) -> None:
        for number in range(MAX_SUBSCRIPTIONS):
            await subscribe(control_plane, f"https://example.com/{number}")
        answer = await control_plane.api.post("/api/v1/subscriptions", json={"url": "https://example.com"})
        assert (answer.status_code, answer.json()["code"]) == (409, "too_many_subscriptions")

    async def test_removed_with_its_messages(self, control_plane: ControlPlane) -> None:
        mine = await subscribe(control_plane, "https://example.com/hook")
        await control_plane.publish()
        assert await types_of(control_plane) == ["agent.published"]
        assert (await control_plane.api.delete(f"/api/v1/subscriptions/{mine['id']}")).status_code == 204
        assert await types_of(control_plane) == []

    async def test_unknown(self, control_plane: ControlPlane) -> None:
        for name in (str(uuid4()), "nothing"):
            base = f"/api/v1/subscriptions/{name}"
            assert (await control_plane.api.get(base)).status_code == 404
            assert (await control_plane.api.delete(base)).status_code == 404
            assert (await control_plane.api.post(f"{base}/pause")).status_code == 404
