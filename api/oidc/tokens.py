"""ID tokens: what a provider says of somebody, checked after OpenID Connect Core 3.1.3.7."""

from __future__ import annotations

import hmac
import time
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from api.signing.tokens import KEY_KINDS

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Signatures only: with a shared secret (HS256), or with none, the provider's public key proves nothing."""
LEEWAY_SECONDS = 60
OLDEST_SECONDS = 600
MAX_LENGTH = 32_768


class InvalidIdToken(Exception):
    """The ID token is not to be believed. The message is for the log."""


class UnknownKey(InvalidIdToken):
    """It names a key that is not among the known ones: the provider may have a new one."""


class IdClaims(BaseModel):
    """What is used of an ID token. Times in seconds."""

    model_config = ConfigDict(extra="ignore")

    iss: StrictStr
    sub: StrictStr = Field(min_length=1, max_length=255)
    aud: StrictStr | list[StrictStr]
    azp: StrictStr | None = None
    exp: StrictInt | float
    iat: StrictInt | float
    nonce: StrictStr | None = None
    email: StrictStr | None = None
    email_verified: StrictBool | StrictStr | None = None
    name: StrictStr | None = None

    @property
    def is_email_verified(self) -> bool:
        """Whether the provider says so; some write it as a text."""
        return self.email_verified in (True, "true")


def read_id_token(token: str, keys: dict[str, Any], *, issuer: str, client_id: str, nonce: str) -> IdClaims:
    """Return what a token says, after its signature, issuer, audience, times and nonce were checked.

    :param keys: The provider's JWK set.
    :raises InvalidIdToken: It is not to be believed.
    """
    try:
        claims = IdClaims.model_validate(orjson.loads(signed_payload(token, keys)))
    except (ValueError, TypeError) as error:
        raise InvalidIdToken(type(error).__name__) from None
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    now = time.time()
    checks = {
        "issuer": claims.iss == issuer,
        "audience": client_id in audiences,
        "authorized party": claims.azp == client_id or (claims.azp is None and len(audiences) == 1),
        "expired": claims.exp > now - LEEWAY_SECONDS,
        "issued in the future": claims.iat < now + LEEWAY_SECONDS,
        "issued long ago": claims.iat > now - OLDEST_SECONDS,
        "nonce": hmac.compare_digest((claims.nonce or "").encode(), nonce.encode()),
    }
    wrong = [name for name, holds in checks.items() if not holds]
    if wrong:
        raise InvalidIdToken(", ".join(wrong))
    return claims


def signed_payload(token: str, keys: dict[str, Any]) -> bytes:
    """Return what one of a provider's keys has signed.

    :param keys: The provider's JWK set.
    :raises InvalidIdToken: None of them did.
    """
    if len(token) > MAX_LENGTH:
        raise InvalidIdToken("too long")
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError, TypeError):
        raise InvalidIdToken("not in the compact form") from None
    if header.get("alg") not in ALGORITHMS or "crit" in header:
        raise InvalidIdToken("algorithm")
    key = _key(keys, header.get("kid"), str(header["alg"]))
    try:
        return jws.deserialize_compact(token, key, algorithms=[str(header["alg"])]).payload
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidIdToken(type(error).__name__) from None


def _key(keys: dict[str, Any], kid: object, algorithm: str) -> RSAKey | ECKey | OKPKey:
    """Return the key that a token names, or the only one of its kind where it names none."""
    kind = KEY_KINDS[algorithm[:2]]
    found = [
        key
        for key in _usable(keys)
        if isinstance(key, kind) and (kid is None or key.get("kid") == kid) and key.get("use") in (None, "sig")
    ]
    if len(found) != 1:
        raise UnknownKey("no such key")
    return found[0]


def _usable(keys: dict[str, Any]) -> list[RSAKey | ECKey | OKPKey]:
    usable: list[RSAKey | ECKey | OKPKey] = []
    for each in keys.get("keys", []):
        try:
            key = KeySet.import_key_set({"keys": [each]}).keys[0]
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # of a kind that we do not know
        if isinstance(key, RSAKey | ECKey | OKPKey):
            usable.append(key)
    return usable
