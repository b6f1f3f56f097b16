"""What callers send and see of logins by a provider."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from api.accounts.secrets import GivenToken
from api.oidc.settings import Slug

GivenCode = Annotated[SecretStr, Field(min_length=1, max_length=4096)]
Short = Annotated[str, Field(min_length=1, max_length=500)]


class ProviderList(BaseModel):
    """The names of the providers."""

    providers: list[str]


class FlowCreate(BaseModel):
    """Where the provider sends people back to: a page of the web client, or the command line on this machine."""

    model_config = ConfigDict(extra="forbid")

    back_to: Literal["web", "cli"] = "web"


class FlowView(BaseModel):
    """Where to go to log in. ``login_token`` stays with who began: it ends the login."""

    authorization_url: str
    redirect_uri: str
    login_token: str = Field(repr=False)
    expires_in: int


class FlowFinish(BaseModel):
    """What the provider sent back, with the token of the beginning. ``iss`` where the answer had it."""

    model_config = ConfigDict(extra="forbid")

    login_token: GivenToken
    code: GivenCode
    state: Short
    iss: Short | None = None
    organization: Slug | None = None
