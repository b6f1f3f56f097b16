"""Access tokens: JWTs after RFC 9068, signed with ES256, the only algorithm there is here."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping
from typing import Literal
from uuid import UUID, uuid4

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey
from pydantic import BaseModel, ConfigDict, StrictInt, StrictStr, ValidationError

from api.identity.permissions import Role

ALGORITHM = "ES256"
TYPE: Literal["at+jwt"] = "at+jwt"
AUDIENCE = "agent-factory"
LIFETIME_SECONDS = 600
LEEWAY_SECONDS = 30
MAX_LENGTH = 4096

_PART = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = {"alg", "kid", "typ"}

KEY_KINDS: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {
    "RS": RSAKey,
    "PS": RSAKey,
    "ES": ECKey,
    "Ed": OKPKey,
}
"""What signs tokens of others: beginning of an algorithm's name -> kind of its public key."""


class InvalidToken(Exception):
    """The token is not to be believed. The message is for the log, not for the caller."""


class AccessClaims(BaseModel):
    """What an access token says: who (``sub``), for which organisation, in which role and session. Times in seconds."""

    model_config = ConfigDict(extra="ignore")

    iss: StrictStr
    aud: StrictStr
    sub: UUID
    org: UUID
    role: Role
    sid: UUID
    jti: StrictStr
    iat: StrictInt
    exp: StrictInt


def issue_access_token(
    key: ECKey, issuer: str, *, user_id: UUID, organization_id: UUID, role: Role, session_id: UUID
) -> str:
    """Return a new access token, which lasts ``LIFETIME_SECONDS``."""
    now = int(time.time())
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": str(user_id),
        "org": str(organization_id),
        "role": role,
        "sid": str(session_id),
        "jti": uuid4().hex,
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
    }
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": TYPE}
    return jws.serialize_compact(header, orjson.dumps(claims), key, algorithms=[ALGORITHM])


def key_id(token: str) -> str:
    """Return the key id that a token names, unverified.

    :raises InvalidToken: It names none, or is no token.
    """
    kid = read_header(token).get("kid")
    if not isinstance(kid, str):
        raise InvalidToken("no key id")
    return kid


def verify_signature(token: str, key: ECKey, *, typ: Literal["at+jwt"] | None = TYPE) -> bytes:
    """Return the payload of a token in the compact form that the key has signed with ES256.

    :param typ: What the header's ``typ`` must be; None for any.
    :raises InvalidToken: Anything else, other algorithms and headers that ask for more than ``_HEADER`` included.
    """
    header = read_header(token)
    if header.get("alg") != ALGORITHM or not header.keys() <= _HEADER or (typ and header.get("typ") != typ):
        raise InvalidToken("another kind of token")
    try:
        return jws.deserialize_compact(token, key, algorithms=[ALGORITHM]).payload
    except (JoseError, ValueError) as error:
        raise InvalidToken(type(error).__name__) from None


def read_access_token(token: str, keys: Mapping[str, ECKey], issuer: str) -> AccessClaims:
    """Return what a token says, after its signature, issuer, audience and time were checked.

    :param keys: The keys that are trusted, by key id. A key that the token itself brings is never used.
    :raises InvalidToken: It is not to be believed.
    """
    key = keys.get(key_id(token))
    if key is None:
        raise InvalidToken("unknown key id")
    try:
        claims = AccessClaims.model_validate(orjson.loads(verify_signature(token, key)))
    except (orjson.JSONDecodeError, ValidationError):
        raise InvalidToken("claims") from None
    now = time.time()
    if claims.iss != issuer or claims.aud != AUDIENCE:
        raise InvalidToken("issuer or audience")
    if claims.exp <= now - LEEWAY_SECONDS or claims.iat > now + LEEWAY_SECONDS:
        raise InvalidToken("time")
    return claims


def read_header(token: str) -> dict[str, object]:
    """Return the header. Padding and other letters than those of base64url are refused: decoders differ on them."""
    parts = token.split(".") if len(token) <= MAX_LENGTH else []
    if len(parts) != 3 or not all(_PART.fullmatch(part) and len(part) % 4 != 1 for part in parts):
        raise InvalidToken("not in the compact form")
    if any(_has_stray_bits(part) for part in parts):
        raise InvalidToken("base64")
    try:
        header = orjson.loads(_decode(parts[0]))
    except orjson.JSONDecodeError:
        raise InvalidToken("header") from None
    if not isinstance(header, dict):
        raise InvalidToken("header")
    return header


def _decode(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _has_stray_bits(part: str) -> bool:
    """Tell whether the last letter has bits that stand for nothing, so that the same bytes could be written twice."""
    return base64.urlsafe_b64encode(_decode(part)).rstrip(b"=").decode() != part
