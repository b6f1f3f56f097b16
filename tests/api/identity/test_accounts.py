"""Passwords, links to set them, invitations, and the mail that carries links."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr

from api.accounts.passwords import hash_password
from api.accounts.service import AccountService
from api.settings import Settings
from tests.api.identity.people import PASSWORD, People

pytestmark = pytest.mark.platform

NEW = "another good password"
AUTH = "/api/v1/auth"


class Outbox:
    """A mailer that keeps what it was given."""

    delivers = True

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []

    async def send(self, to: str, subject: str, body: str) -> None:
        self.mails.append((to, body))

    @property
    def token(self) -> str:
        """The token of the last mail's link."""
        match = re.search(r"#token=(\S+)", self.mails[-1][1])
        assert match is not None
        return match[1]


@pytest.fixture
def outbox(people: People) -> Outbox:
    """The mail that goes out."""
    box = people.plane.app.state.mailer = Outbox()
    return box


class TestChange:
    async def test_other_sessions_end(self, people: People) -> None:
        client, other = [await _client(people) for _ in range(2)]
        body = {"current_password": PASSWORD, "new_password": NEW}
        assert (await client.put(f"{AUTH}/password", json=body)).status_code == 204
        assert (await client.get(f"{AUTH}/me")).status_code == 200
        assert (await other.get(f"{AUTH}/me")).status_code == 401
        assert (await people.log_in("ann@x.test")).status_code == 401
        assert (await people.log_in("ann@x.test", NEW)).status_code == 200

    @pytest.mark.parametrize(
        ("current", "new", "status"),
        [("wrong password", NEW, 403), (PASSWORD, "x" * 11, 422), (PASSWORD, "x" * 129, 422)],
    )
    async def test_refused(self, people: People, current: str, new: str, status: int) -> None:
        client = await _client(people)
        answer = await client.put(f"{AUTH}/password", json={"current_password": current, "new_password": new})
        assert answer.status_code == status
        assert new not in answer.text
        assert (await people.log_in("ann@x.test")).status_code == 200

    async def test_letters_that_keyboards_write_differently(self, people: People) -> None:
        await people.user("ann@x.test", "viewer")
        await people.sql(
            "UPDATE users SET password_hash = :h", h=await hash_password(SecretStr("Cafe\u0301 au lait noir"))
        )
        assert (await people.log_in("ann@x.test", "Caf\u00e9 au lait noir")).status_code == 200


class TestForgotten:
    async def test_the_same_answer_for_everybody(self, people: People, outbox: Outbox) -> None:
        await people.user("ann@x.test", "viewer")
        answers = [await _forget(people, email) for email in ("ann@x.test", "nobody@x.test")]
        assert {(answer.status_code, answer.text) for answer in answers} == {(202, "null")}
        assert [to for to, _ in outbox.mails] == ["ann@x.test"]

    async def test_the_link_works_once(self, people: People, outbox: Outbox) -> None:
        client = await _client(people)
        await _forget(people, "ann@x.test")
        body = {"token": outbox.token, "new_password": NEW}
        answers = await asyncio.gather(*[people.plane.public.post(f"{AUTH}/password/reset", json=body) for _ in "123"])
        assert sorted(answer.status_code for answer in answers) == [204, 400, 400]
        assert (await client.get(f"{AUTH}/me")).status_code == 401
        assert (await people.log_in("ann@x.test", NEW)).status_code == 200
        assert await people.sql("SELECT verified FROM users")

    async def test_a_newer_link_or_an_hour_voids_it(self, people: People, outbox: Outbox) -> None:
        await people.user("ann@x.test", "viewer")
        tokens = []
        for _ in range(2):
            await _forget(people, "ann@x.test")
            tokens.append(outbox.token)
        await people.sql("UPDATE password_resets SET expires_at = now()")
        for token in tokens:
            body = {"token": token, "new_password": NEW}
            assert (await people.plane.public.post(f"{AUTH}/password/reset", json=body)).status_code == 400

    async def test_throttled(self, people: People, outbox: Outbox) -> None:
        statuses = [(await _forget(people, "nobody@x.test")).status_code for _ in range(4)]
        assert statuses == [202, 202, 202, 429]

    async def test_without_a_mail_server_the_operator_makes_the_link(self, people: People, settings: Settings) -> None:
        await people.user("ann@x.test", "viewer")
        await _forget(people, "ann@x.test")
        assert await people.sql("SELECT count(*) FROM password_resets") == 0
        link = await AccountService(people.plane.database, settings).make_link("ann@x.test", by_mail=False)
        assert link is not None
        token = link.get_secret_value().partition("#token=")[2]
        body = {"token": token, "new_password": NEW}
        assert (await people.plane.public.post(f"{AUTH}/password/reset", json=body)).status_code == 204
        assert not await people.sql("SELECT verified FROM users")


class TestInvitations:
    async def test_a_new_person(self, people: People, outbox: Outbox) -> None:
        lead = await people.client("team_lead")
        answer = await lead.post("/api/v1/invitations", json={"email": "Bob@X.test", "role": "developer"})
        assert answer.status_code == 201
        assert outbox.token not in answer.text
        body = {"token": outbox.token, "name": "Bob", "password": NEW}
        assert (await _accept(people, body | {"password": "short"})).status_code == 422
        answers = await asyncio.gather(*[_accept(people, body) for _ in range(3)])
        assert sorted(answer.status_code for answer in answers)[0] == 204
        assert all(answer.status_code in (204, 400, 409) for answer in answers)
        assert (await people.log_in("bob@x.test", NEW)).json()["role"] == "developer"
        statuses = [each["status"] for each in (await lead.get("/api/v1/invitations")).json()["invitations"]]
        assert statuses == ["accepted"]

    async def test_a_person_with_an_account_shows_its_password(self, people: People, outbox: Outbox) -> None:
        await people.user("ann@x.test", "viewer", "acme")
        owner = await people.client("organization_owner")
        answer = await owner.post("/api/v1/invitations", json={"email": "ann@x.test", "role": "viewer"})
        assert answer.json().keys() == {
            "id", "email", "role", "status", "sent", "invited_by", "created_at", "expires_at",
        }  # fmt: skip
        body = {"token": outbox.token, "name": "Mallory", "password": NEW}
        assert (await _accept(people, body)).status_code == 401
        assert (await _accept(people, body | {"password": PASSWORD})).status_code == 204
        assert (await people.log_in("ann@x.test", organization="default")).status_code == 200
        assert await people.sql("SELECT name FROM users WHERE email = 'ann@x.test'") == "Ann"

    async def test_not_above_the_own_role(self, people: People, outbox: Outbox) -> None:
        lead = await people.client("team_lead")
        answer = await lead.post("/api/v1/invitations", json={"email": "b@x.test", "role": "organization_owner"})
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_role")
        assert outbox.mails == []

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE invitations SET revoked_at = now()",
            "UPDATE invitations SET expires_at = now()",
            "UPDATE memberships SET role = 'developer'",
            "DELETE FROM memberships",
            "UPDATE users SET disabled_at = now()",
        ],
    )
    async def test_void(self, people: People, outbox: Outbox, statement: str) -> None:
        lead = await people.client("team_lead")
        await lead.post("/api/v1/invitations", json={"email": "b@x.test", "role": "viewer"})
        await people.sql(statement)
        assert (await _accept(people, {"token": outbox.token, "name": "B", "password": NEW})).status_code == 400
        assert await people.sql("SELECT count(*) FROM users WHERE email = 'b@x.test'") == 0

    async def test_revoke_and_again(self, people: People, outbox: Outbox) -> None:
        lead = await people.client("team_lead")
        first = await lead.post("/api/v1/invitations", json={"email": "b@x.test", "role": "viewer"})
        await lead.post("/api/v1/invitations", json={"email": "b@x.test", "role": "viewer"})
        newest, oldest = (await lead.get("/api/v1/invitations")).json()["invitations"]
        assert (newest["status"], oldest["status"], oldest["id"]) == ("open", "revoked", first.json()["id"])
        assert (await lead.delete(f"/api/v1/invitations/{newest['id']}")).status_code == 204
        member = await lead.post("/api/v1/invitations", json={"email": "team_lead@default.test", "role": "viewer"})
        assert member.json()["code"] == "already_member"


async def test_a_login_of_nobody_does_the_same_work(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argon2 hash with the same parameters is verified for each."""
    seen = []
    verify = PasswordHasher.verify

    def note(self: PasswordHasher, stored: str, password: str) -> bool:
        seen.append(stored.rsplit("$", 2)[0])
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", note)
    await people.user("ann@x.test", "viewer")
    for email in ("ann@x.test", "nobody@x.test"):
        assert (await people.log_in(email, "wrong password")).status_code == 401
    assert len(seen) == 2
    assert len(set(seen)) == 1


async def _client(people: People) -> Any:
    await people.user("ann@x.test")
    if not await people.sql("SELECT count(*) FROM memberships"):
        await people.user("ann@x.test", "viewer")
    return people.with_token((await people.log_in("ann@x.test")).json()["access_token"])


async def _forget(people: People, email: str) -> Any:
    return await people.plane.public.post(f"{AUTH}/password/forgotten", json={"email": email})


async def _accept(people: People, body: dict[str, str]) -> Any:
    return await people.plane.public.post(f"{AUTH}/invitations/accept", json=body)
