"""Who may call a webhook: whatever is missing or cannot be checked, nobody is let in."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from fastapi import Request
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api.encryption import UnsealError
from api.identity.callers import Authenticator
from api.problems import Problem
from api.settings import Settings
from api.signing.tokens import InvalidToken
from api.variables.secrets import SecretStore
from api.webhooks.jwks import IssuerKeys, KeysUnavailable
from api.webhooks.signatures import SecretUnusable, SignatureRefused, SignedMessage, verify_message
from api.webhooks.tokens import Key, check_token, key_id_of, public_key, shared_key

log = logging.getLogger(__name__)

API_KEY_HEADER = "x-api-key"


@dataclass(frozen=True)
class Credentials:
    """What a webhook checks its callers with: its ``auth`` and, where that names one, the secret."""

    organization_id: UUID
    auth: dict[str, Any]
    secret: SecretStr | None = None

    @property
    def is_open(self) -> bool:
        """Anybody may call."""
        return bool(self.auth["type"] == "none")

    @property
    def header(self) -> str | None:
        """The header of the workflow's own choice that holds a credential, in lower case."""
        return str(self.auth.get("header") or API_KEY_HEADER).lower() if self.auth["type"] == "api_key" else None


async def load_credentials(
    session: AsyncSession, organization_id: UUID, settings: Settings, config: dict[str, Any]
) -> Credentials:
    """Return what a webhook's callers are checked with.

    :param config: Of the trigger.
    :raises Problem: 503, where the secret variable that it names is not there or cannot be read.
    """
    auth = config.get("auth") or {"type": "none"}
    name = auth.get("secret")
    if name is None:
        return Credentials(organization_id, auth)
    try:
        secret = await SecretStore(session, settings).read(organization_id, name)
    except (Problem, UnsealError) as error:
        log.error("a webhook's secret %r cannot be read: %s", name, error)
        secret = None
    if secret is None:
        raise _not_set()
    return Credentials(organization_id, auth, secret)


def _not_set() -> Problem:
    detail = (
        "This webhook cannot check its callers, so it lets nobody in: the secret variable that its workflow names is "
        "not set or cannot be used. Whoever owns the workflow has to set it."
    )
    return Problem(503, "webhook_secret_missing", detail, headers={"retry-after": "60"})


async def authenticate_webhook(request: Request, body: bytes, credentials: Credentials) -> SignedMessage | None:
    """Let a caller in; return the message where the caller signs each by itself.

    :raises Problem: 401 for a caller that is not let in; 503 where nobody can be checked.
    """
    kind = credentials.auth["type"]
    if kind == "none":
        return None
    if kind == "api_key":
        await _check_key(request, credentials)
        return None
    if kind == "jwt":
        await _check_jwt(request, credentials)
        return None
    return _check_signature(request, body, credentials)


def _check_signature(request: Request, body: bytes, credentials: Credentials) -> SignedMessage:
    auth = credentials.auth
    scheme = auth["scheme"] if auth["type"] == "hmac" else "standard_webhooks"
    if credentials.secret is None:
        raise _not_set()
    try:
        return verify_message(scheme, credentials.secret.get_secret_value(), body, request.headers)
    except SignatureRefused as refused:
        raise _refused(str(refused), "Signature") from None
    except SecretUnusable as unusable:
        log.error("a webhook's secret %r is unusable: %s", auth["secret"], unusable)
        raise _not_set() from None


async def _check_key(request: Request, credentials: Credentials) -> None:
    header = credentials.header
    assert header is not None, "this type has one"
    given = _single(request, header) or _bearer(request)
    if given is None:
        raise _refused(f"Send the key in the header '{header}', once.", "Bearer")
    if header == "authorization":
        given = _bearer(request) or given
    if credentials.secret is not None:
        is_right = hmac.compare_digest(given.encode(), credentials.secret.get_secret_value().encode())
    else:
        is_right = await _is_own_key(request, given, credentials.organization_id)
    if not is_right:
        raise _refused("The key is not one that this webhook lets in.", "Bearer")


async def _is_own_key(request: Request, key: str, organization_id: UUID) -> bool:
    """Tell whether a key is an API key of the organisation that may start workflows."""
    authenticator: Authenticator = request.app.state.authenticator
    try:
        caller = await authenticator.authenticate(key)
    except Problem as problem:
        if problem.status != 401:
            raise
        return False
    is_key = caller.via == "api_key" and caller.organization_id == organization_id
    return is_key and "execution:run" in caller.permissions


async def _check_jwt(request: Request, credentials: Credentials) -> None:
    auth = credentials.auth
    token = _bearer(request)
    if token is None:
        raise _refused("Send the header 'Authorization: Bearer <JWT>', once.", "Bearer")
    try:
        key = await _jwt_key(request, token, credentials)
        check_token(token, key, algorithm=auth["algorithm"], issuer=auth["issuer"], audience=auth["audience"])
    except InvalidToken as invalid:
        log.info("a webhook's JWT was refused: %s", invalid)
        raise _refused("The JWT must be valid now, of this webhook's issuer, for its audience.", "Bearer") from None


async def _jwt_key(request: Request, token: str, credentials: Credentials) -> Key:
    """Return the key of a token.

    :raises InvalidToken: The issuer has no such key.
    :raises Problem: 503.
    """
    auth = credentials.auth
    try:
        if credentials.secret is not None:
            return shared_key(credentials.secret.get_secret_value())
        if "public_key" in auth:
            return public_key(auth["algorithm"], auth["public_key"])
    except ValueError as error:
        log.error("a webhook's key is unusable: %s", error)
        raise _not_set() from None
    issuer_keys: IssuerKeys = request.app.state.issuer_keys
    try:
        jwk = await issuer_keys.find(auth["jwks_url"], key_id_of(token))
    except KeysUnavailable as error:
        log.warning("keys of a webhook's issuer: %s", error)
        detail = "The keys of this webhook's issuer cannot be fetched now; try again."
        raise Problem(503, "webhook_keys_unavailable", detail, headers={"retry-after": "30"}) from None
    if jwk is None:
        raise InvalidToken("unknown key")
    try:
        return public_key(auth["algorithm"], jwk)
    except ValueError as error:
        raise InvalidToken(str(error)) from None


def _single(request: Request, header: str) -> str | None:
    values = request.headers.getlist(header)
    return values[0] if len(values) == 1 else None


def _bearer(request: Request) -> str | None:
    scheme, _, token = (_single(request, "authorization") or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _refused(detail: str, scheme: str) -> Problem:
    return Problem(401, "webhook_unauthorized", detail, headers={"www-authenticate": scheme})
