"""What we ask a provider: its metadata, its keys, and an ID token for a code."""

from __future__ import annotations

import hashlib
import logging
import time
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx
import orjson

from api.oidc.settings import OidcProvider
from api.oidc.tokens import IdClaims, InvalidIdToken, UnknownKey, read_id_token
from api.problems import Problem

log = logging.getLogger(__name__)

METADATA_SECONDS = 300.0
AGAIN_SECONDS = 10.0
"""How soon keys are asked for again, for a token that names an unknown one."""
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Metadata:
    """Where a provider's endpoints are; ``says_iss`` tells that its answers name it (RFC 9207)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    says_iss: bool
    takes_basic: bool


class OidcClient:
    """One provider, as one process knows it. The operator chose its address, so it may be in a private network."""

    def __init__(self, provider: OidcProvider, http: httpx.AsyncClient) -> None:
        self.provider = provider
        self._http = http
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None

    async def metadata(self) -> Metadata:
        """Return where its endpoints are.

        :raises Problem: 503 where it does not answer, or answers as another issuer.
        """
        if self._metadata is None or time.monotonic() - self._metadata[0] > METADATA_SECONDS:
            found = await self._get(f"{self.provider.issuer.rstrip('/')}/.well-known/openid-configuration")
            self._metadata = time.monotonic(), self._read(found)
        return self._metadata[1]

    def _read(self, found: dict[str, Any]) -> Metadata:
        if found.get("issuer") != self.provider.issuer:
            raise self._trouble("its metadata are of another issuer")
        endpoints = [found.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
        if not all(isinstance(each, str) and self._is_safe(each) for each in endpoints):
            raise self._trouble("an endpoint is missing or not https")
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        says_iss = found.get("authorization_response_iss_parameter_supported") is True
        authorize, token, keys = map(str, endpoints)
        return Metadata(authorize, token, keys, says_iss, "client_secret_basic" in methods)

    def _is_safe(self, url: str) -> bool:
        """Tell whether an endpoint is https; plain http only where the issuer itself is on this machine."""
        return urlsplit(url).scheme == "https" or self.provider.issuer.startswith("http://")

    async def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where to send somebody to log in.

        :raises Problem: 503.
        """
        endpoint = (await self.metadata()).authorization_endpoint
        challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": redirect_uri,
            "scope": self.provider.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def redeem(self, code: str, *, redirect_uri: str, nonce: str, verifier: str) -> IdClaims:
        """Return what the provider says of who logged in, for a code.

        :raises Problem: 401 where the code or the ID token is not to be believed; 503 where the provider fails.
        """
        token = await self._exchange(code, redirect_uri, verifier)
        try:
            return await self._verify(token, nonce)
        except InvalidIdToken as error:
            log.warning("an ID token of %s was refused: %s", self.provider.name, error)
            raise refused() from None

    async def _exchange(self, code: str, redirect_uri: str, verifier: str) -> str:
        metadata, provider = await self.metadata(), self.provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": provider.client_id,
        }
        headers = {}
        if provider.client_secret is not None:
            secret = provider.client_secret.get_secret_value()
            if metadata.takes_basic:
                headers["authorization"] = _basic(provider.client_id, secret)
                del form["client_id"]
            else:
                form["client_secret"] = secret
        try:
            answer = await self._http.post(metadata.token_endpoint, data=form, headers=headers)
        except httpx.HTTPError as error:
            raise self._trouble(type(error).__name__) from None
        if answer.status_code >= 500:
            raise self._trouble(f"HTTP {answer.status_code}")
        token = _object(answer).get("id_token") if answer.status_code == 200 else None
        if not isinstance(token, str):
            log.warning("a code of %s was refused: HTTP %s", provider.name, answer.status_code)
            raise refused()
        return token

    async def _verify(self, token: str, nonce: str) -> IdClaims:
        try:
            return self._read_token(token, await self._jwks(METADATA_SECONDS), nonce)
        except UnknownKey:
            return self._read_token(token, await self._jwks(AGAIN_SECONDS), nonce)

    def _read_token(self, token: str, keys: dict[str, Any], nonce: str) -> IdClaims:
        provider = self.provider
        return read_id_token(token, keys, issuer=provider.issuer, client_id=provider.client_id, nonce=nonce)

    async def _jwks(self, oldest: float) -> dict[str, Any]:
        if self._keys is None or time.monotonic() - self._keys[0] > oldest:
            uri = (await self.metadata()).jwks_uri
            self._keys = time.monotonic(), await self._get(uri)
        return self._keys[1]

    async def _get(self, url: str) -> dict[str, Any]:
        try:
            answer = await self._http.get(url)
        except httpx.HTTPError as error:
            raise self._trouble(type(error).__name__) from None
        if answer.status_code != 200:
            raise self._trouble(f"HTTP {answer.status_code}")
        return _object(answer)

    def _trouble(self, why: str) -> Problem:
        log.error("the OpenID provider %s cannot be used: %s", self.provider.name, why)
        detail = (
            f"The provider {self.provider.name!r} cannot be used now; the reason is in the server's log. Try again."
        )
        return Problem(503, "provider_unavailable", detail, headers={"retry-after": "10"})


def refused() -> Problem:
    """Return the one answer to every login by a provider that is not to be believed."""
    detail = "The login by this provider is not valid (any more); begin it again."
    return Problem(401, "login_refused", detail, headers={"www-authenticate": "Bearer"})


def _basic(client_id: str, secret: str) -> str:
    """Return the client's credentials, written as RFC 6749 2.3.1 wants them."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return f"Basic {b64encode(pair.encode()).decode()}"


def _object(answer: httpx.Response) -> dict[str, Any]:
    if len(answer.content) > MAX_BYTES:
        return {}
    try:
        found = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}
