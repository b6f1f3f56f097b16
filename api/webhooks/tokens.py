"""JWTs of webhooks: signed by one issuer, for one audience, with one algorithm."""

from __future__ import annotations

import time
from typing import Any

import orjson
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from api.signing.tokens import KEY_KINDS, InvalidToken, read_header

LEEWAY_SECONDS = 30

Key = OctKey | RSAKey | ECKey | OKPKey

_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


def shared_key(secret: str) -> Key:
    """Return the key of an algorithm whose key both sides have.

    :raises ValueError: It is a public key, which everybody has.
    """
    return OctKey.import_key(secret.encode())


def public_key(algorithm: str, key: str | dict[str, Any]) -> Key:
    """Return a public key of the algorithm's kind.

    :param key: PEM, or a JWK.
    :raises ValueError: It is none, or of another kind.
    """
    kind = algorithm[:2]
    if isinstance(key, dict) and (
        key.get("kty") != _KEY_TYPES[kind] or key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig"
    ):
        raise ValueError("the key is not for this algorithm")
    try:
        found = KEY_KINDS[kind].import_key(key)
    except (JoseError, TypeError, KeyError) as error:
        raise ValueError(f"the key cannot be read: {type(error).__name__}") from None
    return found


def key_id_of(token: str) -> str | None:
    """Return the id of the key that a token names, unverified.

    :raises InvalidToken: It is no token.
    """
    kid = read_header(token).get("kid")
    return kid if isinstance(kid, str) else None


def check_token(token: str, key: Key, *, algorithm: str, issuer: str, audience: str, now: float | None = None) -> None:
    """Check a token. Keys and algorithms that the token itself brings are never used.

    :raises InvalidToken: Another signature, algorithm, issuer or audience, or not now: it must expire.
    """
    try:
        claims = orjson.loads(signed_payload(token, key, algorithm))
    except orjson.JSONDecodeError:
        raise InvalidToken("claims") from None
    if not isinstance(claims, dict):
        raise InvalidToken("claims")
    audiences = claims.get("aud")
    if claims.get("iss") != issuer or audience not in (audiences if isinstance(audiences, list) else [audiences]):
        raise InvalidToken("issuer or audience")
    _check_times(claims, time.time() if now is None else now)


def signed_payload(token: str, key: Key, algorithm: str) -> bytes:
    """Return what a key has signed with an algorithm.

    :raises InvalidToken: It did not.
    """
    if read_header(token).get("alg") != algorithm:
        raise InvalidToken("another algorithm")
    try:
        return jws.deserialize_compact(token, key, algorithms=[algorithm]).payload
    except (JoseError, ValueError, TypeError) as error:
        raise InvalidToken(type(error).__name__) from None


def _check_times(claims: dict[str, Any], now: float) -> None:
    times = {name: claims.get(name) for name in ("exp", "nbf", "iat")}
    if any(isinstance(value, bool) or not isinstance(value, int | float | None) for value in times.values()):
        raise InvalidToken("time")
    expires = times["exp"]
    if expires is None or expires <= now - LEEWAY_SECONDS:
        raise InvalidToken("expired")
    if any((times[name] or 0) > now + LEEWAY_SECONDS for name in ("nbf", "iat")):
        raise InvalidToken("not yet")
