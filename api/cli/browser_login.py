"""``agent-factory login --oidc``: log in by a provider in the browser, which comes back to this machine."""

from __future__ import annotations

import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

import click

from agent_factory_client import AgentFactory
from agent_factory_client.schemas import TokenAnswer
from api.cli.remote import RemoteError

SECONDS = 300.0
"""How long the browser is waited for."""


def log_in_by_browser(address: str, provider: str, organization: str | None) -> TokenAnswer:
    """Return the tokens of a login by a provider.

    :raises RemoteError: The provider refuses, or nobody came back in time.
    :raises ApiError: The control plane refuses.
    """
    with AgentFactory(address, timeout=30.0) as factory:
        begun = factory.auth.begin_oidc(provider, back_to="cli")
        back = _wait_for_browser(begun["authorization_url"], begun["redirect_uri"])
        if "code" not in back or "state" not in back:
            raise RemoteError(f"The provider refused the login: {back.get('error', 'no code came back')!r}.")
        return factory.auth.finish_oidc(
            provider,
            login_token=begun["login_token"],
            code=back["code"],
            state=back["state"],
            iss=back.get("iss"),
            organization=organization,
        )


def _wait_for_browser(url: str, redirect_uri: str) -> dict[str, str]:
    """Open a page, and return what the browser brings to the address that it is sent back to."""
    expected = urlsplit(redirect_uri)
    found: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            """Take what the provider sent; other addresses are nobody's."""
            asked = urlsplit(self.path)
            is_it = asked.path == expected.path
            if is_it:
                found.update(parse_qsl(asked.query))
            self.send_response(200 if is_it else 404)
            self.send_header("content-type", "text/plain; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"You can close this page and go back to the terminal.\n" if is_it else b"")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: the address holds the code."""

    try:
        server = HTTPServer((expected.hostname or "127.0.0.1", expected.port or 0), Handler)
    except OSError as error:
        raise RemoteError(f"Port {expected.port} of this machine must be free for the login ({error}).") from None
    with server:
        server.timeout = SECONDS
        click.echo(f"Log in at this address, if the browser does not open it:\n{url}", err=True)
        webbrowser.open(url)
        for _ in range(20):  # browsers ask for icons too
            if found:
                break
            server.handle_request()
    return found
