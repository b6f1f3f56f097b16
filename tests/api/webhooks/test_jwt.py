"""JWTs at a webhook: one issuer, audience and algorithm; keys that are shared, public or fetched."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any

import orjson
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from api.signing.tokens import InvalidToken
from api.webhooks.jwks import IssuerKeys, KeysUnavailable
from api.webhooks.tokens import check_token, public_key, shared_key
from operators.egress import EgressError, EgressRequest, EgressResponse
from tests.api.control_plane import ControlPlane
from tests.api.webhooks.signing import BODY, JSON, URL, count, publish

pytestmark = pytest.mark.platform

ISSUER, AUDIENCE = "https://id.example", "hooks"
SECRET = "a shared secret of the tests, with enough bytes for HS512: ok?!!!"
JWKS_URL = "https://id.example/jwks.json"
RSA, EC, OKP = RSAKey.generate_key(2048), ECKey.generate_key("P-256"), OKPKey.generate_key("Ed25519")
OTHER_EC = ECKey.generate_key("P-256")
PRIVATE: dict[str, Any] = {"HS256": OctKey.import_key(SECRET), "RS256": RSA, "PS256": RSA, "ES256": EC, "EdDSA": OKP}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    given = {"iss": ISSUER, "aud": AUDIENCE, "exp": now + 60, "iat": now} | changes
    return {name: value for name, value in given.items() if value is not None}


def signed(algorithm: str = "ES256", key: Any = None, header: dict[str, Any] | None = None, **changes: Any) -> str:
    head = {"alg": algorithm, "typ": "JWT"} | (header or {})
    return jwt.encode(head, claims(**changes), key or PRIVATE[algorithm], algorithms=[algorithm])


def pem(key: Any) -> str:
    return key.as_pem(private=False).decode()  # type: ignore[no-any-return]


def check(token: str, algorithm: str = "ES256") -> None:
    key = shared_key(SECRET) if algorithm == "HS256" else public_key(algorithm, pem(PRIVATE[algorithm]))
    check_token(token, key, algorithm=algorithm, issuer=ISSUER, audience=AUDIENCE)


class TestToken:
    @pytest.mark.parametrize("algorithm", PRIVATE)
    def test_right(self, algorithm: str) -> None:
        check(signed(algorithm), algorithm)
        check(signed(algorithm, aud=["others", AUDIENCE]), algorithm)

    @pytest.mark.parametrize(
        "changes",
        [
            {"iss": "https://id.example/"},
            {"iss": None},
            {"aud": "others"},
            {"aud": None},
            {"aud": {AUDIENCE: 1}},
            {"aud": []},
            {"exp": None},
            {"exp": 1},
            {"exp": "9999999999"},
            {"exp": True},
            {"nbf": 9_999_999_999},
            {"iat": 9_999_999_999},
            {"iat": "now"},
        ],
    )
    def test_wrong_claims(self, changes: dict[str, Any]) -> None:
        # `jwt.encode` would refuse some of them.
        from joserfc import jws

        token = jws.serialize_compact({"alg": "ES256"}, orjson.dumps(claims(**changes)), EC, algorithms=["ES256"])
        with pytest.raises(InvalidToken):
            check(token)

    def test_another_key(self) -> None:
        with pytest.raises(InvalidToken):
            check(signed(key=OTHER_EC))

    def test_another_algorithm_of_the_same_key(self) -> None:
        with pytest.raises(InvalidToken, match="another algorithm"):
            check(signed("PS256"), "RS256")

    def test_a_public_key_taken_for_a_shared_secret(self) -> None:
        head = urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=")
        content = head + b"." + urlsafe_b64encode(orjson.dumps(claims())).rstrip(b"=")
        signature = hmac.new(pem(EC).encode(), content, "sha256").digest()
        forged = (content + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()
        with pytest.raises(InvalidToken, match="another algorithm"):
            check(forged)
        with pytest.raises(ValueError, match="public"):
            shared_key(pem(EC))

    def test_keys_that_the_token_brings(self) -> None:
        for header in ({"jwk": OTHER_EC.as_dict(private=False)}, {"jku": "https://evil.example/jwks"}):
            with pytest.raises(InvalidToken):
                check(signed(key=OTHER_EC, header=header))

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "..", "e30.e30.", "é.é.é", "a" * 5000])
    def test_no_token(self, token: str) -> None:
        with pytest.raises(InvalidToken):
            check(token)

    def test_none(self) -> None:
        head, body, _ = signed().split(".")
        for sent in (f"eyJhbGciOiJub25lIn0.{body}.", f"eyJhbGciOiJub25lIn0.{body}.AA", f"{head}.{body}."):
            with pytest.raises(InvalidToken):
                check(sent)

    @pytest.mark.parametrize("key", [pem(RSA), "x", OTHER_EC.as_dict(private=False) | {"use": "enc"}, {"kty": "EC"}])
    def test_unusable_key(self, key: Any) -> None:
        with pytest.raises(ValueError, match="key"):
            public_key("ES256", key)


class Issuer:
    """Answers in place of an issuer's server, and counts."""

    def __init__(self, *keys: Any) -> None:
        self.keys = [key.as_dict(private=False) | {"kid": f"k{number}"} for number, key in enumerate(keys)]
        self.asked = 0
        self.status = 200

    async def send(self, request: EgressRequest) -> EgressResponse:
        self.asked += 1
        if self.status == 0:
            raise EgressError("timeout", "gone", retryable=True)
        return EgressResponse(self.status, {}, orjson.dumps({"keys": self.keys}), request.url)


class TestIssuerKeys:
    async def test_are_fetched_once(self) -> None:
        issuer = Issuer(EC, RSA)
        keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        found = [await keys.find(JWKS_URL, name) for name in ("k0", "k1", "k0")]
        assert [key["kty"] for key in found if key] == ["EC", "RSA", "EC"]
        assert issuer.asked == 1

    async def test_unknown_ones_do_not_make_a_flood(self) -> None:
        issuer = Issuer(EC)
        keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        assert [await keys.find(JWKS_URL, f"made-up-{number}") for number in range(50)] == [None] * 50
        assert issuer.asked == 1

    async def test_a_new_key_is_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        issuer = Issuer(EC)
        keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        await keys.find(JWKS_URL, "k0")
        issuer.keys.append(RSA.as_dict(private=False) | {"kid": "new"})
        monkeypatch.setattr("api.webhooks.jwks.AGAIN_SECONDS", -1.0)
        assert await keys.find(JWKS_URL, "new")

    async def test_without_an_id_only_one_key_can_be_meant(self) -> None:
        assert await IssuerKeys(Issuer(EC)).find(JWKS_URL, None)  # type: ignore[arg-type]
        assert await IssuerKeys(Issuer(EC, RSA)).find(JWKS_URL, None) is None  # type: ignore[arg-type]

    @pytest.mark.parametrize("status", [0, 500, 404])
    async def test_away(self, status: int) -> None:
        issuer = Issuer(EC)
        issuer.status = status
        keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        for _ in range(3):
            with pytest.raises(KeysUnavailable):
                await keys.find(JWKS_URL, "k0")
        assert issuer.asked == 1


AUTH = {"type": "jwt", "issuer": ISSUER, "audience": AUDIENCE}


class TestWebhook:
    async def post(self, plane: ControlPlane, token: str) -> Any:
        headers = JSON | {"authorization": f"Bearer {token}"}
        return await plane.public.post(URL, content=BODY, headers=headers)

    async def test_shared(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, AUTH | {"algorithm": "HS256", "secret": "hook_secret"}, secret=SECRET)
        assert (await self.post(control_plane, signed("HS256"))).status_code == 202
        assert (await self.post(control_plane, signed("HS256", exp=1))).status_code == 401
        assert (await control_plane.public.post(URL, content=BODY, headers=JSON)).status_code == 401
        assert await count(control_plane) == 1

    async def test_a_secret_that_is_a_public_key(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, AUTH | {"algorithm": "HS256", "secret": "hook_secret"}, secret=pem(EC))
        answer = await self.post(control_plane, signed("HS256"))
        assert (answer.status_code, answer.json()["code"]) == (503, "webhook_secret_missing")

    async def test_public(self, control_plane: ControlPlane) -> None:
        await publish(control_plane, AUTH | {"algorithm": "ES256", "public_key": pem(EC)}, secret=None)
        assert (await self.post(control_plane, signed())).status_code == 202
        answer = await self.post(control_plane, signed(key=OTHER_EC))
        assert (answer.status_code, answer.json()["code"]) == (401, "webhook_unauthorized")

    async def test_fetched(self, control_plane: ControlPlane) -> None:
        issuer = Issuer(EC)
        control_plane.app.state.issuer_keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        await publish(control_plane, AUTH | {"algorithm": "ES256", "jwks_url": JWKS_URL}, secret=None)
        assert (await self.post(control_plane, signed(header={"kid": "k0"}))).status_code == 202
        assert (await self.post(control_plane, signed(header={"kid": "k1"}))).status_code == 401
        assert (await self.post(control_plane, "no token")).status_code == 401

    async def test_keys_that_cannot_be_fetched(self, control_plane: ControlPlane) -> None:
        issuer = Issuer(EC)
        issuer.status = 500
        control_plane.app.state.issuer_keys = IssuerKeys(issuer)  # type: ignore[arg-type]
        await publish(control_plane, AUTH | {"algorithm": "ES256", "jwks_url": JWKS_URL}, secret=None)
        answer = await self.post(control_plane, signed(header={"kid": "k0"}))
        assert (answer.status_code, answer.json()["code"]) == (503, "webhook_keys_unavailable")
        assert await count(control_plane) == 0
