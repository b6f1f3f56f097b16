"""Access tokens: whatever is not exactly one of ours is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any
from uuid import uuid4

import pytest
from joserfc.jwk import ECKey

from api.signing.tokens import (
    AUDIENCE,
    LEEWAY_SECONDS,
    InvalidToken,
    issue_access_token,
    read_access_token,
)

pytestmark = pytest.mark.unit

ISSUER = "https://factory.test"
KEY = ECKey.generate_key("P-256", {"kid": "one"})
OTHER = ECKey.generate_key("P-256", {"kid": "two"})
KEYS = {"one": ECKey.import_key(KEY.as_dict(private=False))}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid4()), "org": str(uuid4()), "sid": str(uuid4()),
            "role": "viewer", "jti": "j", "iat": now, "exp": now + 600}  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


def sign(payload: Any, key: ECKey = KEY, **changes: Any) -> str:
    """Sign by hand, so that a header may be as wrong as an attacker likes."""
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    protected = {"alg": "ES256", "kid": "one", "typ": "at+jwt"} | changes
    header = {name: value for name, value in protected.items() if value is not None}
    signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(payload).encode())}"
    r, s = decode_dss_signature(key.private_key.sign(signed.encode(), ECDSA(SHA256())))  # type: ignore[union-attr]
    return f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def refused(token: str) -> bool:
    try:
        read_access_token(token, KEYS, ISSUER)
    except InvalidToken:
        return True
    return False


def test_ours_is_read() -> None:
    user, organization, session = uuid4(), uuid4(), uuid4()
    token = issue_access_token(
        KEY, ISSUER, user_id=user, organization_id=organization, role="viewer", session_id=session
    )
    read = read_access_token(token, KEYS, ISSUER)
    assert (read.sub, read.org, read.sid, read.role) == (user, organization, session, "viewer")
    assert read.exp - read.iat == 600
    assert not refused(sign(claims()))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.test"}, {"iss": None}, {"iss": ISSUER + "/"}, {"aud": "other"}, {"aud": None},
        {"aud": [AUDIENCE]}, {"exp": int(time.time()) - LEEWAY_SECONDS - 1}, {"exp": None}, {"exp": "9999999999"},
        {"exp": 1e400}, {"exp": True}, {"iat": int(time.time()) + 3600}, {"iat": None}, {"sub": "x"}, {"sub": None},
        {"org": None}, {"sid": None}, {"role": "root"}, {"jti": None},
    ],
)  # fmt: skip
def test_wrong_claims(changes: dict[str, Any]) -> None:
    assert refused(sign(claims(**changes)))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "two"}, {"kid": None}, {"kid": 1}, {"kid": ["one"]}, {"kid": "../../dev/null"},
        {"kid": "one' OR '1'='1"}, {"typ": "JWT"}, {"typ": None}, {"alg": "none"}, {"alg": "HS256"}, {"alg": "ES384"},
        {"alg": None}, {"crit": ["exp"]}, {"jwk": OTHER.as_dict(private=False)}, {"jku": "https://evil.test/jwks"},
        {"x5u": "https://evil.test/cert"}, {"b64": False}, {"zip": "DEF"},
    ],
)  # fmt: skip
def test_wrong_headers(header: dict[str, Any]) -> None:
    assert refused(sign(claims(), **header))


def test_a_key_that_the_token_brings_is_not_used() -> None:
    assert refused(sign(claims(), OTHER))
    assert refused(sign(claims(), OTHER, jwk=OTHER.as_dict(private=False)))


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE"])
def test_unsigned(alg: str) -> None:
    parts = [b64(json.dumps({"alg": alg, "kid": "one", "typ": "at+jwt"}).encode()), b64(json.dumps(claims()).encode())]
    for signature in ("", "AA", sign(claims()).rsplit(".", 1)[1]):
        assert refused(".".join([*parts, signature]))


def test_the_public_key_as_a_shared_secret() -> None:
    public = KEYS["one"]
    for secret in (public.as_pem(private=False), json.dumps(public.as_dict(private=False)).encode()):
        header = {"alg": "HS256", "kid": "one", "typ": "at+jwt"}
        signed = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims()).encode())}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        assert refused(f"{signed}.{b64(mac)}")


def test_every_changed_letter() -> None:
    token = sign(claims())
    for place in range(len(token)):
        letter = "A" if token[place] != "A" else "B"
        assert refused(token[:place] + letter + token[place + 1 :]), place


@pytest.mark.parametrize(
    "text", ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "é.é.é", "x" * 5000, "e30.e30.", "bnVsbA.e30.AA", "W10.e30.AA"]
)
def test_no_token(text: str) -> None:
    assert refused(text)


def test_other_spellings_of_ours() -> None:
    token = sign(claims())
    header, payload, signature = token.split(".")
    for other in (f"{token}=", f" {token}", f"{token}\n", f"{header}=.{payload}.{signature}", f"{header}.{payload}."):
        assert refused(other)
