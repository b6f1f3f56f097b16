"""Log in, refresh, switch, log out; and how soon a change counts."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.api.control_plane import ControlPlane
from tests.api.identity.people import PASSWORD, People

pytestmark = pytest.mark.platform

ME = "/api/v1/auth/me"
REFRESH = "/api/v1/auth/refresh"


class TestLogin:
    async def test_valid(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        answer = await people.log_in("Ann@X.test")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        body = answer.json()
        assert (body["token_type"], body["expires_in"], body["role"]) == ("Bearer", 600, "developer")
        me = (await people.with_token(body["access_token"]).get(ME)).json()
        assert (me["email"], me["organization"], me["via"]) == ("ann@x.test", "default", "token")
        assert "workflow:edit" in me["permissions"]

    async def test_unknown_address_and_wrong_password_look_the_same(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        await people.user("off@x.test", "developer")
        await people.sql("UPDATE users SET disabled_at = now() WHERE email = 'off@x.test'")
        answers = [
            await people.log_in("ann@x.test", "not the password"),
            await people.log_in("nobody@x.test"),
            await people.log_in("off@x.test"),
        ]
        assert {answer.status_code for answer in answers} == {401}
        assert len({answer.text for answer in answers}) == 1

    @pytest.mark.parametrize("email", ["ann@x.test", "nobody@x.test"])
    async def test_an_account_is_throttled_whether_it_is_there_or_not(self, people: People, email: str) -> None:
        await people.user("ann@x.test", "developer")
        await people.log_in(email, "wrong password")
        await people.sql("UPDATE attempts SET count = 7")
        answers = await asyncio.gather(*[people.log_in(email, "wrong password") for _ in range(5)])
        assert sorted(answer.status_code for answer in answers) == [401] * 3 + [429] * 2
        refused = await people.log_in(email)
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_attempts")
        assert 0 < int(refused.headers["retry-after"]) <= 900
        await people.sql("UPDATE attempts SET began_at = now() - interval '901 seconds'")
        assert (await people.log_in(email)).status_code == (200 if email.startswith("ann") else 401)

    async def test_an_address_is_throttled(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        await people.log_in("other@x.test", "wrong password")
        await people.sql("UPDATE attempts SET count = 100 WHERE count = 1")
        assert (await people.log_in("ann@x.test")).status_code == 429

    async def test_a_login_forgets_the_wrong_ones(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        for password in ("wrong password", PASSWORD):
            await people.log_in("ann@x.test", password)
        assert await people.sql("SELECT array_agg(count) FROM attempts") == [1]

    async def test_chosen_organisation(self, people: People) -> None:
        await people.user("ann@x.test", "viewer")
        await people.user("ann@x.test", "team_lead", "acme")
        answer = (await people.log_in("ann@x.test", organization="acme")).json()
        assert (answer["organization"], answer["role"]) == ("acme", "team_lead")
        for slug in ("theirs", "nowhere"):
            await people.organization("theirs")
            answer = await people.log_in("ann@x.test", organization=slug)
            assert (answer.status_code, answer.json()["code"]) == (403, "no_membership")

    async def test_nobody_logs_in_without_a_secret_key(self, people: People, control_plane: ControlPlane) -> None:
        await people.user("ann@x.test", "viewer")
        control_plane.app.state.keys._settings = control_plane.app.state.settings.model_copy(
            update={"secret_key": None}
        )
        answer = await people.log_in("ann@x.test")
        assert (answer.status_code, answer.json()["code"]) == (503, "identity_not_configured")

    @pytest.mark.parametrize(
        "body",
        [
            {"email": "ann@x.test"},
            {"email": "no address", "password": "x"},
            {"email": "a@x.test\nBcc: b@x.test", "password": "x"},
            {"email": "ann@x.test", "password": "secret-" + "x" * 200},
            {"email": "ann@x.test", "password": ["secret-"]},
            {"email": "ann@x.test", "password": "secret-x", "organization": "../x"},
        ],
    )
    async def test_wrong_body(self, control_plane: ControlPlane, body: dict[str, object]) -> None:
        answer = await control_plane.public.post("/api/v1/auth/token", json=body)
        assert answer.status_code == 422
        assert "secret-" not in answer.text


class TestRefresh:
    async def test_each_token_works_once(self, people: People, caplog: pytest.LogCaptureFixture) -> None:
        await people.user("ann@x.test", "developer")
        first = (await people.log_in("ann@x.test")).json()
        answer = await people.plane.public.post(REFRESH, json={"refresh_token": first["refresh_token"]})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        second = answer.json()
        assert second["refresh_token"] != first["refresh_token"]
        with caplog.at_level(logging.WARNING):
            again = await people.plane.public.post(REFRESH, json={"refresh_token": first["refresh_token"]})
        assert (again.status_code, again.json()["code"]) == (401, "invalid_refresh_token")
        # The thief's and the owner's next ones, and the access token, are void too.
        assert (
            await people.plane.public.post(REFRESH, json={"refresh_token": second["refresh_token"]})
        ).status_code == 401
        assert (await people.with_token(second["access_token"]).get(ME)).status_code == 401
        assert "was used again" in caplog.text
        assert first["refresh_token"] not in caplog.text

    async def test_two_at_once(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        body = {"refresh_token": (await people.log_in("ann@x.test")).json()["refresh_token"]}
        answers = await asyncio.gather(*[people.plane.public.post(REFRESH, json=body) for _ in range(4)])
        assert sorted(answer.status_code for answer in answers) == [200, 401, 401, 401]
        assert await people.sql("SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL") == 0

    @pytest.mark.parametrize("token", ["aft_" + "x" * 43, "x", "", "\u0000"])
    async def test_unknown(self, people: People, token: str) -> None:
        answer = await people.plane.public.post(REFRESH, json={"refresh_token": token})
        assert answer.status_code == (422 if not token else 401)

    async def test_over(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        body = {"refresh_token": (await people.log_in("ann@x.test")).json()["refresh_token"]}
        await people.sql("UPDATE refresh_tokens SET expires_at = now()")
        assert (await people.plane.public.post(REFRESH, json=body)).status_code == 401

    async def test_only_the_digest_is_stored(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        token = (await people.log_in("ann@x.test")).json()["refresh_token"]
        assert await people.sql("SELECT count(*) FROM refresh_tokens WHERE digest = sha256(:t)", t=token.encode()) == 1


class TestAtOnce:
    """What changes counts from the next request on."""

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE users SET disabled_at = now()",
            "UPDATE user_sessions SET revoked_at = now()",
            "UPDATE user_sessions SET expires_at = now()",
            "DELETE FROM memberships",
            "DELETE FROM users",
        ],
    )
    async def test_ended(self, people: People, statement: str) -> None:
        client = await people.client("developer")
        assert (await client.get(ME)).status_code == 200
        await people.sql(statement)
        assert (await client.get(ME)).status_code == 401

    async def test_changed_role(self, people: People) -> None:
        client = await people.client("organization_owner")
        await people.sql("UPDATE memberships SET role = 'viewer'")
        answer = await client.post("/api/v1/relay/pause")
        assert (answer.status_code, answer.json()["permission"]) == (403, "relay:manage")


class TestSwitchAndLogout:
    async def test_switch(self, people: People) -> None:
        client = await people.client("developer", email="ann@x.test")
        await people.user("ann@x.test", "viewer", "acme")
        answer = await client.post("/api/v1/auth/switch", json={"organization": "acme"})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        me = (await people.with_token(answer.json()["access_token"]).get(ME)).json()
        assert (me["organization"], me["role"]) == ("acme", "viewer")
        assert {each["slug"]: each["role"] for each in me["organizations"]} == {
            "default": "developer",
            "acme": "viewer",
        }
        assert (await client.get(ME)).status_code == 401

    async def test_admin_goes_anywhere(self, people: People) -> None:
        client = await people.client("admin")
        await people.organization("acme")
        answer = await client.post("/api/v1/auth/switch", json={"organization": "acme"})
        assert answer.json()["role"] == "admin"

    async def test_logout(self, people: People) -> None:
        client = await people.client("developer")
        assert (await client.post("/api/v1/auth/logout")).status_code == 204
        assert (await client.get(ME)).status_code == 401

    async def test_sessions(self, people: People) -> None:
        await people.user("ann@x.test", "developer")
        first, second = [(await people.log_in("ann@x.test")).json()["access_token"] for _ in range(2)]
        stranger = await people.client("organization_owner")
        client = people.with_token(second)
        newest, oldest = (await client.get("/api/v1/auth/sessions")).json()["sessions"]
        assert (newest["current"], oldest["current"]) == (True, False)
        assert (await stranger.delete(f"/api/v1/auth/sessions/{oldest['id']}")).status_code == 404
        assert (await client.delete(f"/api/v1/auth/sessions/{oldest['id']}")).status_code == 204
        assert (await people.with_token(first).get(ME)).status_code == 401
        assert (await client.get(ME)).status_code == 200
        assert (await client.delete("/api/v1/auth/sessions")).status_code == 204
        assert (await client.get(ME)).status_code == 401
        assert (await stranger.get(ME)).status_code == 200

    async def test_the_operator_has_no_session(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.api.get(ME)).json()["via"] == "operator"
        for answer in (
            await control_plane.api.get("/api/v1/auth/sessions"),
            await control_plane.api.post("/api/v1/auth/switch", json={"organization": "default"}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "login_needed")


async def test_without_the_operators_token_only_real_identities_get_in(people: People) -> None:
    authenticator = people.plane.app.state.authenticator
    authenticator._settings = authenticator._settings.model_copy(update={"api_token": None})
    assert (await people.plane.api.get(ME)).status_code == 401
    assert (await people.plane.public.get(ME)).status_code == 401
    assert (await (await people.client("viewer")).get(ME)).status_code == 200
