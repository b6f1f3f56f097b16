"""The providers that people may log in by, as the operator lists them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from api.identity.permissions import MemberRole

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,38}$")]
Domain = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$")]
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
CLI_PORT = 8765
"""Where the command line waits for the browser."""


class DomainRule(BaseModel):
    """Where people of a domain become members when they first log in."""

    model_config = ConfigDict(extra="forbid")

    organization: Slug
    role: MemberRole = "viewer"


class OidcProvider(BaseModel):
    """A provider.

    :param issuer: Exactly what its tokens say in ``iss``; ``https``, but for this machine.
    :param client_secret: Without it we are a public client, by PKCE alone.
    :param trusts_email: Whether every address that it tells counts as verified: only for a provider whose addresses
        its own administrators give out, such as one tenant of Entra.
    :param links_by_email: Whether a verified address leads to the account that has it.
    :param domains: Domain of a verified address -> where its people become members. Others need an invitation.
    """

    model_config = ConfigDict(extra="forbid")

    name: Slug
    issuer: str
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: SecretStr | None = None
    scopes: str = "openid email profile"
    trusts_email: bool = False
    links_by_email: bool = False
    domains: dict[Domain, DomainRule] = {}

    @field_validator("issuer")
    @classmethod
    def _is_one_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not (parts.scheme == "https" and parts.hostname) and not is_local:
            raise ValueError("issuer must be an https address")
        if parts.query or parts.fragment or "{" in value:
            raise ValueError("issuer must be the address of one tenant, without ? and #")
        return value

    @field_validator("scopes")
    @classmethod
    def _asks_for_an_id_token(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("scopes must have 'openid'")
        return value

    def redirect_uris(self, public_url: str) -> tuple[str, str]:
        """Return where the provider may send people back to: the web client, and the command line."""
        return f"{public_url}/login/{self.name}", f"http://127.0.0.1:{CLI_PORT}/login/{self.name}"
