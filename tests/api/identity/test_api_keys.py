"""API keys: shown once, never above their maker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.api_keys.format import make_key, parse_key
from api.identity.permissions import Role, permissions_of
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People

pytestmark = pytest.mark.platform

KEYS = "/api/v1/api-keys"
ME = "/api/v1/auth/me"


async def make(client: httpx.AsyncClient, *permissions: str, **changes: Any) -> httpx.Response:
    body = {"name": "CI", "permissions": permissions or ("workflow:read",), "expires_at": None} | changes
    return await client.post(KEYS, json=body)


class TestFormat:
    def test_parse(self) -> None:
        key = make_key()
        assert isinstance(key, SecretStr)
        text = key.get_secret_value()
        parts = parse_key(text)
        assert parts is not None
        assert text.startswith(f"af_{parts.prefix}_")
        assert text not in repr(parts)

    def test_the_checksum_finds_every_changed_letter(self) -> None:
        text = make_key().get_secret_value()
        for place in range(len(text)):
            letter = "0" if text[place] != "0" else "1"
            assert parse_key(text[:place] + letter + text[place + 1 :]) is None
        for other in ("", "af_", text + "0", text[:-1], f" {text}", text.upper(), "af_" + "x" * 43):
            assert parse_key(other) is None


class TestMake:
    async def test_shown_once_and_stored_as_a_digest(self, people: People) -> None:
        client = await people.client("developer")
        answer = await make(client, "workflow:read", "execution:*")
        assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
        key = answer.json()["key"]
        assert key not in (await client.get(KEYS)).text
        assert await people.sql("SELECT count(*) FROM api_keys WHERE digest = sha256(:k)", k=key.encode()) == 1
        me = (await people.with_token(key).get(ME)).json()
        assert (me["via"], me["role"], me["email"]) == ("api_key", "developer", "developer@default.test")
        assert me["permissions"] == [
            "account:own",
            "execution:cancel",
            "execution:read",
            "execution:run",
            "workflow:read",
        ]

    @pytest.mark.parametrize("wish", ["workflow:publish", "workflow:*", "*"])
    async def test_not_beyond_the_own_role(self, people: People, wish: str) -> None:
        answer = await make(await people.client("developer"), "workflow:read", wish)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_role")
        assert await people.sql("SELECT count(*) FROM api_keys") == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"permissions": []},
            {"permissions": ["workflow:publsh"]},
            {"permissions": ["nothing:*"]},
            {"name": ""},
            {"name": "a\nb"},
            {"expires_at": "2020-01-01T00:00:00Z"},
            {"expires_at": "2090-01-01T00:00:00"},
        ],
    )
    async def test_wrong_body(self, people: People, changes: dict[str, Any]) -> None:
        assert (await make(await people.client("developer"), **changes)).status_code == 422

    async def test_a_key_makes_no_keys(self, people: People) -> None:
        key = (await make(await people.client("organization_owner"), "api_key:*")).json()["key"]
        answer = await make(people.with_token(key), "api_key:own")
        assert (answer.status_code, answer.json()["code"]) == (403, "login_needed")


class TestUse:
    async def test_only_what_its_scope_says(self, people: People) -> None:
        key = (await make(await people.client("organization_owner"), "relay:read")).json()["key"]
        client = people.with_token(key)
        assert (await client.get("/api/v1/relay")).status_code == 200
        answer = await client.post("/api/v1/relay/pause")
        assert (answer.status_code, answer.json()["permission"]) == (403, "relay:manage")

    @pytest.mark.parametrize("role", ["team_lead", "developer", "viewer"])
    async def test_it_falls_with_its_maker(self, people: People, role: Role) -> None:
        key = (await make(await people.client("organization_owner"), "org:*", "workflow:*", "relay:*")).json()["key"]
        await people.sql("UPDATE memberships SET role = :role", role=role)
        me = (await people.with_token(key).get("/api/v1/relay")).status_code
        assert me == 200
        expected = 200 if "relay:manage" in permissions_of(role) else 403
        assert (await people.with_token(key).post("/api/v1/relay/pause")).status_code == expected
        answer = await people.with_token(key).patch("/api/v1/organizations/default", json={"name": "X"})
        assert answer.status_code == 403

    @pytest.mark.parametrize(
        "statement",
        [
            "DELETE FROM memberships",
            "UPDATE users SET disabled_at = now()",
            "UPDATE api_keys SET expires_at = now()",
            "UPDATE api_keys SET revoked_at = now()",
            "DELETE FROM users",
        ],
    )
    async def test_ended_at_once(self, people: People, statement: str) -> None:
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        key = (await make(await people.client("developer"), "relay:read", expires_at=later)).json()["key"]
        client = people.with_token(key)
        assert (await client.get("/api/v1/relay")).status_code == 200
        await people.sql(statement)
        assert (await client.get("/api/v1/relay")).status_code == 401

    async def test_same_prefix_other_secret(self, people: People) -> None:
        key = (await make(await people.client("developer"), "relay:read")).json()["key"]
        other = make_key().get_secret_value()
        await people.sql("UPDATE api_keys SET prefix = :prefix", prefix=other.split("_")[1])
        assert (await people.with_token(other).get("/api/v1/relay")).status_code == 401
        assert (await people.with_token(key).get("/api/v1/relay")).status_code == 401

    async def test_last_use_is_noted(self, people: People) -> None:
        owner = await people.client("developer")
        key = (await make(owner, "relay:read")).json()["key"]
        assert (await owner.get(KEYS)).json()["api_keys"][0]["last_used_at"] is None
        await people.with_token(key).get("/api/v1/relay")
        first = (await owner.get(KEYS)).json()["api_keys"][0]["last_used_at"]
        await people.with_token(key).get("/api/v1/relay")
        assert first == (await owner.get(KEYS)).json()["api_keys"][0]["last_used_at"] is not None


class TestListAndRevoke:
    async def test_own_and_everybodys(self, people: People) -> None:
        developer, owner = await people.client("developer"), await people.client("organization_owner")
        mine, theirs = (await make(developer)).json(), (await make(owner)).json()
        assert [key["id"] for key in (await developer.get(KEYS)).json()["api_keys"]] == [mine["id"]]
        assert len((await owner.get(KEYS)).json()["api_keys"]) == 2
        assert (await developer.delete(f"{KEYS}/{theirs['id']}")).status_code == 404
        for _ in range(2):
            assert (await owner.delete(f"{KEYS}/{mine['id']}")).status_code == 204
        assert (await people.with_token(mine["key"]).get(ME)).status_code == 401
        assert (await people.with_token(theirs["key"]).get(ME)).status_code == 200


class TestOfTheOperator:
    async def test_it_lives_as_long_as_the_operators_token(self, control_plane: ControlPlane, people: People) -> None:
        key = (await make(control_plane.api, "relay:*")).json()["key"]
        client = people.with_token(key)
        assert (await client.post("/api/v1/relay/pause")).status_code == 200
        authenticator = control_plane.app.state.authenticator
        authenticator._settings = authenticator._settings.model_copy(update={"api_token": None})
        assert (await client.post("/api/v1/relay/resume")).status_code == 401
