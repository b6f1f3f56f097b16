"""Logging in by a real OpenID provider, and everything that must not work."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from api.oidc.settings import DomainRule, OidcProvider
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.oidc.conftest import OIDC, Logins
from tests.api.oidc.providers import CLIENT_ID, CLIENT_SECRET, log_in_there

pytestmark = pytest.mark.platform


def refused(answer: httpx.Response, code: str = "login_refused", status: int = 401) -> bool:
    return (answer.status_code, answer.json()["code"]) == (status, code)


class TestLogin:
    async def test_of_the_domain(self, logins: Logins, people: People, issuer: str) -> None:
        answer = await logins.log_in("ann")
        assert answer.status_code == 200, answer.text
        assert (answer.json()["organization"], answer.json()["role"]) == ("default", "developer")
        assert answer.headers["cache-control"] == "no-store"
        me = (await people.with_token(answer.json()["access_token"]).get("/api/v1/auth/me")).json()
        assert (me["email"], me["name"]) == ("ann@acme.test", "Ann A.")
        assert await people.sql("SELECT json_build_array(issuer, subject) FROM user_identities") == [issuer, "ann"]
        again = await logins.log_in("ann")
        assert again.status_code == 200
        assert await people.sql("SELECT count(*) FROM users") == 1
        query = "SELECT json_agg(action ORDER BY id) FROM audit_log"
        assert await people.sql(query) == ["member.join", "session.begin", "session.begin"]

    async def test_by_the_command_lines_door(self, logins: Logins) -> None:
        begun = await logins.begin(back_to="cli")
        back = await log_in_there(begun["authorization_url"], "ann")
        assert back["url"] == begun["redirect_uri"] == "http://127.0.0.1:8765/login/corp"
        assert (await logins.finish(begun, back)).status_code == 200

    async def test_of_the_invited(self, control_plane: ControlPlane, logins: Logins, people: People) -> None:
        refusal = await logins.log_in("cid")
        assert refused(refusal, "no_membership", 403)
        assert await people.sql("SELECT count(*) FROM users") == 0
        await control_plane.api.post("/api/v1/invitations", json={"email": "cid@else.test", "role": "viewer"})
        answer = await logins.log_in("cid")
        assert (answer.status_code, answer.json()["role"]) == (200, "viewer")
        assert await people.sql("SELECT accepted_at IS NOT NULL FROM invitations")

    async def test_who_was_removed_stays_out(self, logins: Logins, people: People) -> None:
        assert (await logins.log_in("ann")).status_code == 200
        await people.sql("DELETE FROM memberships")
        assert refused(await logins.log_in("ann"), "no_membership", 403)

    async def test_who_was_disabled_stays_out(self, logins: Logins, people: People) -> None:
        assert (await logins.log_in("ann")).status_code == 200
        await people.sql("UPDATE users SET disabled_at = now()")
        assert refused(await logins.log_in("ann"), "account_disabled", 403)

    async def test_providers_are_listed(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(OIDC)).json() == {"providers": ["corp"]}


class TestTakeover:
    """An address that a provider tells leads into no account that somebody else may have made."""

    @pytest.mark.parametrize("account", ["bob", "dan"])
    async def test_unverified_or_missing(self, logins: Logins, people: People, account: str) -> None:
        answer = await logins.log_in(account)
        assert refused(answer, "email_not_verified" if account == "bob" else "email_missing", 403)
        assert await people.sql("SELECT count(*) FROM users") == 0

    async def test_an_account_that_is_there(self, logins: Logins, people: People) -> None:
        await people.user("ann@acme.test", "organization_owner")
        await people.sql("UPDATE users SET verified = true")
        assert refused(await logins.log_in("ann"), "account_exists", 403)
        assert await people.sql("SELECT count(*) FROM user_identities") == 0


class TestLinking:
    @pytest.fixture
    def corp(self, corp: OidcProvider) -> OidcProvider:
        return corp.model_copy(update={"links_by_email": True})

    async def test_where_both_sides_verified_it(self, logins: Logins, people: People) -> None:
        user = await people.user("ann@acme.test", "organization_owner")
        await people.sql("UPDATE users SET verified = true")
        answer = await logins.log_in("ann")
        assert (answer.status_code, answer.json()["role"]) == (200, "organization_owner")
        assert await people.sql("SELECT user_id FROM user_identities") == user

    async def test_not_where_the_account_never_showed_it(self, logins: Logins, people: People) -> None:
        """Somebody could have made it beforehand with the address of another, and wait in it."""
        await people.user("ann@acme.test", "organization_owner")
        assert refused(await logins.log_in("ann"), "account_exists", 403)

    async def test_not_by_an_unverified_address(self, logins: Logins, people: People) -> None:
        await people.user("bob@acme.test", "organization_owner")
        await people.sql("UPDATE users SET verified = true")
        assert refused(await logins.log_in("bob"), "email_not_verified", 403)


class TestTrustedAddresses:
    @pytest.fixture
    def corp(self, corp: OidcProvider) -> OidcProvider:
        return corp.model_copy(update={"trusts_email": True})

    async def test_of_a_provider_that_gives_them_out(self, logins: Logins) -> None:
        assert (await logins.log_in("bob")).status_code == 200


class TestForged:
    async def test_wrong_state(self, logins: Logins) -> None:
        assert refused(await logins.log_in("ann", state="x" * 43))

    async def test_wrong_token(self, logins: Logins) -> None:
        """As of somebody whom an attacker sends their own code, so that both are in the attacker's account."""
        assert refused(await logins.log_in("ann", login_token="afl_" + "x" * 43))

    async def test_wrong_code(self, logins: Logins) -> None:
        assert refused(await logins.log_in("ann", code="x" * 43))

    async def test_replayed(self, logins: Logins) -> None:
        begun = await logins.begin()
        back = await log_in_there(begun["authorization_url"], "ann")
        assert (await logins.finish(begun, back)).status_code == 200
        assert refused(await logins.finish(begun, back))

    async def test_a_failed_try_uses_it_up(self, logins: Logins) -> None:
        begun = await logins.begin()
        back = await log_in_there(begun["authorization_url"], "ann")
        assert refused(await logins.finish(begun, back, state="x"))
        assert refused(await logins.finish(begun, back))

    async def test_a_code_of_another_login(self, logins: Logins) -> None:
        """Injected: the state is right, but the verifier is not the code's."""
        victim, attacker = await logins.begin(), await logins.begin()
        of_victim = await log_in_there(victim["authorization_url"], "ann")
        back = await log_in_there(attacker["authorization_url"], "cid")
        assert refused(await logins.finish(attacker, back | {"code": of_victim["code"]}))

    async def test_over(self, logins: Logins, people: People) -> None:
        begun = await logins.begin()
        back = await log_in_there(begun["authorization_url"], "ann")
        await people.sql("UPDATE oidc_flows SET expires_at = now()")
        assert refused(await logins.finish(begun, back))

    async def test_nowhere_else_is_redirected_to(self, logins: Logins, control_plane: ControlPlane) -> None:
        for body in ({"redirect_uri": "https://evil.test"}, {"back_to": "https://evil.test"}):
            assert (await control_plane.public.post(f"{OIDC}/corp/begin", json=body)).status_code == 422
        begun = await logins.begin()
        url = httpx.URL(begun["authorization_url"]).copy_set_param("redirect_uri", "https://evil.test/login/corp")
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(url)
        assert (answer.status_code, "location" in answer.headers) == (400, False)

    async def test_unknown_provider(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.post(f"{OIDC}/none/begin", json={})).status_code == 404

    async def test_nothing_in_the_database_leads_to_a_login(self, logins: Logins, people: People) -> None:
        begun = await logins.begin()
        stored = await people.sql("SELECT CAST(to_json(oidc_flows) AS text) FROM oidc_flows")
        asked = dict(httpx.URL(begun["authorization_url"]).params)
        for secret in (begun["login_token"], asked["state"], asked["nonce"]):
            assert secret not in stored


class TestMixUp:
    """A provider that is evil, or was taken over, beside an honest one."""

    @pytest.fixture
    def others(self, other_issuer: str) -> tuple[OidcProvider, ...]:
        return (
            OidcProvider(name="evil", issuer=other_issuer, client_id=CLIENT_ID, client_secret=SecretStr(CLIENT_SECRET)),
        )

    async def test_an_answer_of_another_provider(self, logins: Logins) -> None:
        begun = await logins.begin("evil")
        url = httpx.URL(begun["authorization_url"])
        honest = httpx.URL((await logins.begin("corp"))["authorization_url"])
        # Evil sends the browser on to the honest one, to get its code at the end.
        mixed = honest.copy_merge_params({"state": url.params["state"], "nonce": url.params["nonce"]})
        back = await log_in_there(str(mixed), "ann")
        assert back["state"] == url.params["state"]
        for changes in ({}, {"iss": None}, {"iss": str(other_name(back))}):
            assert refused(await logins.finish(begun, back, "evil", **changes))
            begun = await logins.begin("evil")
            back = back | {"state": httpx.URL(begun["authorization_url"]).params["state"]}

    async def test_ended_at_another_provider(self, logins: Logins) -> None:
        begun = await logins.begin("evil")
        back = await log_in_there(begun["authorization_url"], "ann")
        assert refused(await logins.finish(begun, back, "corp"))

    async def test_the_same_subject_is_somebody_else(self, logins: Logins, people: People) -> None:
        assert (await logins.log_in("ann")).status_code == 200
        begun = await logins.begin("evil")
        back = await log_in_there(begun["authorization_url"], "ann")
        assert refused(await logins.finish(begun, back, "evil"), "account_exists", 403)


def other_name(back: dict[str, str]) -> str:
    """Return an issuer that the answer did not name."""
    return back["iss"] + "/"


class TestTrouble:
    @pytest.fixture
    def corp(self, corp: OidcProvider) -> OidcProvider:
        return corp.model_copy(update={"issuer": "http://127.0.0.1:9"})

    async def test_no_answer(self, control_plane: ControlPlane) -> None:
        answer = await control_plane.public.post(f"{OIDC}/corp/begin", json={})
        assert refused(answer, "provider_unavailable", 503)


class TestAnotherIssuer:
    @pytest.fixture
    def corp(self, corp: OidcProvider) -> OidcProvider:
        return corp.model_copy(update={"issuer": corp.issuer.replace("127.0.0.1", "localhost")})

    async def test_metadata_of_another(self, control_plane: ControlPlane) -> None:
        answer = await control_plane.public.post(f"{OIDC}/corp/begin", json={})
        assert refused(answer, "provider_unavailable", 503)


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://idp.test"},
        {"issuer": "https://login.test/{tenantid}/v2.0"},
        {"issuer": "https://login.test/?a=b"},
        {"scopes": "email"},
        {"name": "../x"},
        {"domains": {"*": {"organization": "default"}}},
        {"domains": {"a.test": {"organization": "default", "role": "admin"}}},
        {"unknown": 1},
    ],
)
def test_settings(changes: dict[str, Any]) -> None:
    fine: dict[str, Any] = {"name": "corp", "issuer": "https://idp.test", "client_id": "x"}
    OidcProvider.model_validate(fine)
    with pytest.raises(ValidationError):
        OidcProvider.model_validate(fine | changes)
    assert DomainRule(organization="default").role == "viewer"
