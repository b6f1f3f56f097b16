"""Which control plane the commands talk with, and as whom."""

from __future__ import annotations

import os
from typing import Any

import click

from agent_factory_client import AgentFactory, ApiError, ConnectionFailed, NotAControlPlane
from api.cli.stored_login import LoginOver, StoredLogin, fresh_login, read_login
from api.platform.errors import PlatformError
from api.platform.home import Home


class RemoteError(click.ClickException):
    """What went wrong, in one sentence; exit code 1."""


def control_plane() -> AgentFactory:
    """Return the control plane of ``AGENT_FACTORY_API_URL`` and ``AGENT_FACTORY_API_TOKEN``, else that of the stored
    login, else the running platform's.

    :raises RemoteError: None is known.
    """
    url, token = os.environ.get("AGENT_FACTORY_API_URL"), os.environ.get("AGENT_FACTORY_API_TOKEN")
    login = None if token else _stored_login(url)
    if login is not None:
        return AgentFactory(login.url, login.access_token)
    if not (url and token):
        state = _platform_state()
        # The platform's token goes to the platform only.
        if url in (None, "", state.get("api_url")):
            url, token = state.get("api_url"), token or state.get("api_token")
    if not (url and token):
        raise RemoteError(
            "No control plane is known: start one with `agent-factory up`, or set AGENT_FACTORY_API_URL and "
            "AGENT_FACTORY_API_TOKEN."
        )
    return AgentFactory(url, token)


def control_plane_of_login() -> AgentFactory:
    """Return the control plane of the stored login.

    :raises RemoteError: Nobody is logged in.
    """
    login = _stored_login(None)
    if login is None:
        raise RemoteError("Nobody is logged in; `agent-factory login` does it.")
    return AgentFactory(login.url, login.access_token)


def as_click_error(error: Exception) -> click.ClickException | None:
    """Return what the command line says of an error of the client; None where it is none."""
    if isinstance(error, ConnectionFailed):
        return RemoteError(f"{str(error).removesuffix('.')}; start one with `agent-factory up`.")
    return RemoteError(str(error)) if isinstance(error, ApiError | NotAControlPlane) else None


def running_platform_url() -> str | None:
    """Return the address of the running platform's control plane."""
    return _platform_state().get("api_url")


def _stored_login(url: str | None) -> StoredLogin | None:
    """Return the stored login, fresh; None where there is none, or it is of another control plane than ``url``.

    :raises RemoteError: Its session is over, or its control plane does not answer.
    """
    stored = read_login()
    if stored is None or (url and url.rstrip("/") != stored.url):
        return None
    try:
        return fresh_login()
    except LoginOver:
        raise RemoteError(f"The login at {stored.url} is over; `agent-factory login` makes a new one.") from None
    except (ApiError, ConnectionFailed, NotAControlPlane) as error:
        raise RemoteError(
            f"The control plane of the login, {stored.url}, does not answer ({error}); start it, or "
            "forget the login with `agent-factory logout`."
        ) from None


def _platform_state() -> dict[str, Any]:
    try:
        return Home.from_environment().read_state()
    except PlatformError as error:
        raise RemoteError(str(error)) from None
