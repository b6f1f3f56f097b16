"""Signing keys: made, published, replaced with overlap, and kept encrypted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from pydantic import SecretStr

from api.settings import Settings
from api.signing.keys import KeyRing
from tests.api.identity.people import People

pytestmark = pytest.mark.platform

ME = "/api/v1/auth/me"


async def published(people: People) -> list[dict[str, Any]]:
    people.plane.app.state.keys._read_at = float("-inf")
    answer = await people.plane.public.get("/.well-known/jwks.json")
    assert answer.status_code == 200
    keys: list[dict[str, Any]] = answer.json()["keys"]
    return keys


async def test_another_service_can_verify_with_what_is_published(people: People) -> None:
    client = await people.client("team_lead")
    keys = await published(people)
    assert [(key["alg"], key["use"], "d" in key) for key in keys] == [("ES256", "sig", False)]
    token = client.headers["authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, KeySet.import_key_set({"keys": keys}), algorithms=["ES256"]).claims  # type: ignore[arg-type]
    assert (claims["iss"], claims["aud"], claims["role"]) == ("http://factory.test", "agent-factory", "team_lead")


async def test_the_private_part_is_encrypted(people: People, settings: Settings) -> None:
    await people.client("viewer")
    stored = await people.sql("SELECT private_key FROM signing_keys")
    assert b'"d"' not in bytes(stored)
    assert "d" not in await people.sql("SELECT public_jwk FROM signing_keys")
    other = KeyRing(settings.model_copy(update={"secret_key": SecretStr("z" * 32)}), people.plane.database)
    people.plane.app.state.keys = other
    await people.user("ann@x.test", "viewer")
    answer = await people.log_in("ann@x.test")
    assert (answer.status_code, answer.json()["code"]) == (503, "secret_key_changed")
    assert "AGENT_FACTORY_SECRET_KEY" in answer.json()["detail"]


async def test_processes_that_start_together_make_one_key(people: People, settings: Settings) -> None:
    rings = [KeyRing(settings, people.plane.database) for _ in range(4)]
    await asyncio.gather(*[ring._read() for ring in rings])
    assert await people.sql("SELECT count(*) FROM signing_keys") == 1


async def test_rotation_overlaps(people: People) -> None:
    client = await people.client("viewer")
    ring: KeyRing = people.plane.app.state.keys
    old = ring._signing_key()
    kid = await ring.rotate(at_once=False)
    assert {key["kid"] for key in await published(people)} == {old.kid, kid}
    # The new key is announced before it signs.
    assert ring._signing_key().kid == old.kid
    await people.sql("UPDATE signing_keys SET signs_from = signs_from - interval '601 seconds'")
    await published(people)
    assert ring._signing_key().kid == kid
    assert (await client.get(ME)).status_code == 200
    await people.sql("UPDATE signing_keys SET trusted_until = now() WHERE kid = :kid", kid=old.kid)
    assert [key["kid"] for key in await published(people)] == [kid]
    assert (await client.get(ME)).status_code == 401


async def test_rotation_at_once(people: People) -> None:
    client = await people.client("viewer")
    await people.plane.app.state.keys.rotate(at_once=True)
    assert (await client.get(ME)).status_code == 401
    assert (await (await people.client("team_lead")).get(ME)).status_code == 200


async def test_an_old_key_gets_a_successor(people: People) -> None:
    await people.client("viewer")
    await people.sql("UPDATE signing_keys SET created_at = now() - interval '31 days'")
    assert len(await published(people)) == 2
    assert len(await published(people)) == 2


async def test_made_up_key_ids_do_not_become_queries(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await people.client("viewer")
    await client.get(ME)
    reads = []
    read = KeyRing._read

    async def count(self: KeyRing) -> None:
        reads.append(1)
        await read(self)

    monkeypatch.setattr(KeyRing, "_read", count)
    header, payload, signature = client.headers["authorization"].removeprefix("Bearer ").split(".")
    for kid in ("eyJhbGciOiJFUzI1NiIsImtpZCI6ImEifQ", "eyJhbGciOiJFUzI1NiIsImtpZCI6ImIifQ", "x", header[:-2]):
        assert (await people.with_token(f"{kid}.{payload}.{signature}").get(ME)).status_code == 401
    assert reads == []
