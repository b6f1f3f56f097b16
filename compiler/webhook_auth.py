"""How a webhook knows its callers: the keys of each type of ``auth``, and what must hold among them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from compiler.fields import FormatModel
from compiler.urls import UrlError, parse_url

AuthType = Literal["none", "api_key", "hmac", "standard_webhooks", "jwt"]
Algorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
SIGNING: frozenset[AuthType] = frozenset({"hmac", "standard_webhooks"})
"""Types whose callers sign the body."""

_SECRET_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_LOOKS_SECRET = re.compile(r"[0-9a-f]{32,}")
_HEADER = re.compile(r"[A-Za-z0-9-]{1,100}")
_PUBLIC_KEY = re.compile(r"\s*-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]+-----END PUBLIC KEY-----\s*")
_MAX_KEY = 8_192


class WebhookAuth(FormatModel):
    """How a webhook knows its callers. Which keys belong to which ``type``: ``docs/webhooks.md``.

    ``secret`` is the *name* of a secret variable of the organisation: secrets themselves are never in a workflow.
    """

    type: AuthType
    scheme: Literal["github", "slack", "stripe"] | None = Field(default=None, description="hmac: who signs, and how.")
    secret: str | None = Field(default=None, description="Name of a secret variable of the organisation.")
    header: str | None = Field(default=None, description="api_key: where the key is; x-api-key without it.")
    issuer: str | None = Field(default=None, min_length=1, max_length=500, description="jwt: the only `iss` let in.")
    audience: str | None = Field(default=None, min_length=1, max_length=500, description="jwt: what `aud` must name.")
    algorithm: Algorithm | None = Field(default=None, description="jwt: the only `alg` let in.")
    public_key: str | None = Field(default=None, description="jwt: the issuer's public key, PEM.")
    jwks_url: str | None = Field(default=None, description="jwt: where the issuer's public keys are, https.")


_REQUIRED: dict[AuthType, tuple[str, ...]] = {
    "none": (),
    "api_key": (),
    "hmac": ("scheme", "secret"),
    "standard_webhooks": ("secret",),
    "jwt": ("issuer", "audience", "algorithm"),
}
_OPTIONAL: dict[AuthType, tuple[str, ...]] = {"api_key": ("secret", "header")}

Fault = tuple[Literal["missing_field", "unknown_field", "invalid_trigger"], str | None, str]
"""A diagnostic's code, the key of ``auth`` it stands at (None: ``auth`` itself), and its message."""


def auth_faults(auth: WebhookAuth, method: str) -> Iterator[Fault]:
    """Return what is wrong with ``auth``; no message repeats a value that may be a secret.

    :param method: Of the webhook.
    """
    given = auth.model_dump(exclude_none=True).keys() - {"type"}
    known = {*_REQUIRED[auth.type], *_OPTIONAL.get(auth.type, ()), *_key_names(auth)}
    for key in sorted(given - known):
        yield "unknown_field", key, _stray(auth, key, known)
    for key in (*_REQUIRED[auth.type], *(["secret"] if _is_shared(auth) else [])):
        if key not in given:
            yield "missing_field", None, f"Webhook auth '{auth.type}' needs the key '{key}'."
    if auth.type == "jwt" and auth.algorithm and not _is_shared(auth) and len(given & {"public_key", "jwks_url"}) != 1:
        message = f"Webhook auth 'jwt' with {auth.algorithm} needs either `public_key` or `jwks_url`."
        yield "missing_field", None, message
    if auth.type in SIGNING and method == "GET":
        message = f"Webhook auth '{auth.type}' covers a body, and GET has none; use POST, or another type."
        yield "invalid_trigger", "type", message
    yield from _value_faults(auth)


def _is_shared(auth: WebhookAuth) -> bool:
    """Tell whether both sides have the same key."""
    return auth.type == "jwt" and (auth.algorithm or "").startswith("HS")


def _key_names(auth: WebhookAuth) -> tuple[str, ...]:
    if auth.type != "jwt" or auth.algorithm is None:
        return ("secret", "public_key", "jwks_url") if auth.type == "jwt" else ()
    # A public key taken for a shared secret would let in everybody who knows it, so the algorithm decides.
    return ("secret",) if _is_shared(auth) else ("public_key", "jwks_url")


def _stray(auth: WebhookAuth, key: str, known: set[str]) -> str:
    of_type = f"Webhook auth '{auth.type}'" + (f" with {auth.algorithm}" if auth.type == "jwt" else "")
    if not known:
        return f"{of_type} has no other keys; got '{key}'. Name the type it belongs to."
    return f"{of_type} has no key '{key}'; its keys are {', '.join(sorted(known))}."


def _value_faults(auth: WebhookAuth) -> Iterator[Fault]:
    if auth.secret is not None and (not _SECRET_NAME.fullmatch(auth.secret) or _LOOKS_SECRET.fullmatch(auth.secret)):
        message = (
            "`secret` must be the name of a secret variable of the organisation (a-z, then a-z, 0-9 and _), and never "
            "the secret itself. Set one with `agent-factory variables set NAME --secret`."
        )
        yield "invalid_trigger", "secret", message
    if auth.header is not None and not _HEADER.fullmatch(auth.header):
        yield "invalid_trigger", "header", "`header` must be the name of a header: letters, digits and -."
    if auth.public_key is not None and (len(auth.public_key) > _MAX_KEY or not _PUBLIC_KEY.fullmatch(auth.public_key)):
        message = "`public_key` must be a public key in PEM: '-----BEGIN PUBLIC KEY-----' and what follows."
        yield "invalid_trigger", "public_key", message
    if auth.jwks_url is not None:
        try:
            is_safe = parse_url(auth.jwks_url).scheme == "https"
            message = "`jwks_url` must begin with 'https://': whoever can change the keys on their way is let in."
        except UrlError as error:
            is_safe, message = False, f"`jwks_url` {error}."
        if not is_safe:
            yield "invalid_trigger", "jwks_url", message
