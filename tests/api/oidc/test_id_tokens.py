"""ID tokens that are forged, of somebody else, or out of time."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from api.oidc.tokens import ALGORITHMS, InvalidIdToken, UnknownKey, read_id_token

pytestmark = pytest.mark.unit

KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
CURVE = ECKey.generate_key("P-256", {"kid": "k2"})
KEYS = {"keys": [KEY.as_dict(private=False), CURVE.as_dict(private=False), {"kty": "new", "kid": "k3"}]}
ISSUER, CLIENT, NONCE = "https://idp.test", "us", "nonce"


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    made = {"iss": ISSUER, "sub": "ann", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": NONCE}
    return {name: value for name, value in (made | changes).items() if value is not None}


def token(key: Any = KEY, header: dict[str, Any] | None = None, **changes: Any) -> str:
    head = {"alg": "RS256", "kid": "k1"} | (header or {})
    return jwt.encode(head, claims(**changes), key, algorithms=[head["alg"]])


def read(text: str) -> Any:
    return read_id_token(text, KEYS, issuer=ISSUER, client_id=CLIENT, nonce=NONCE)


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(CURVE, {"alg": "ES256", "kid": "k2"}),
        token(header={"alg": "PS256"}),
        token(aud=[CLIENT, "other"], azp=CLIENT),
        jwt.encode({"alg": "RS256"}, claims(), KEY),
    ],
)
def test_taken(text: str) -> None:
    assert read(text).sub == "ann"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://idp.test/"},
        {"iss": "https://evil.test"},
        {"iss": None},
        {"aud": "other"},
        {"aud": []},
        {"aud": ["other"]},
        {"aud": [CLIENT, "other"]},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"azp": "other"},
        {"nonce": "other"},
        {"nonce": None},
        {"exp": int(time.time()) - 120},
        {"exp": None},
        {"exp": "2999"},
        {"iat": int(time.time()) + 300},
        {"iat": int(time.time()) - 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": "x" * 256},
    ],
)
def test_claims_that_do_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidIdToken):
        read(token(**changes))


def test_signed_by_another_key() -> None:
    with pytest.raises(InvalidIdToken):
        read(token(RSAKey.generate_key(2048)))


def test_an_unknown_key_is_told_apart() -> None:
    """Its provider may have a new one, which is asked for."""
    with pytest.raises(UnknownKey):
        read(token(header={"kid": "k9"}))


def test_the_public_key_is_no_shared_secret() -> None:
    head, _, rest = token().partition(".")
    head = urlsafe_b64encode(b'{"alg":"HS256","kid":"k1"}').rstrip(b"=").decode()
    signed = f"{head}.{rest.partition('.')[0]}"
    signature = hmac.digest(KEY.as_pem(private=False), signed.encode(), "sha256")
    forged = f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(InvalidIdToken, match="algorithm"):
        read(forged)


def test_unsigned() -> None:
    head = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ"
    with pytest.raises(InvalidIdToken, match="algorithm"):
        read(f"{head}.{token().split('.')[1]}.")


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c", "..", "x" * 40_000, "é.a.b", token() + "x", token()[:-4] + "AAAA"]
)
def test_broken(text: str) -> None:
    with pytest.raises(InvalidIdToken):
        read(text)


def test_only_signatures_of_public_keys() -> None:
    assert not any(name.startswith("HS") or name == "none" for name in ALGORITHMS)


def test_a_key_of_the_token_itself_is_not_used() -> None:
    own = RSAKey.generate_key(2048)
    with pytest.raises(InvalidIdToken):
        read(token(own, {"jwk": own.as_dict(private=False), "kid": "k1"}))
