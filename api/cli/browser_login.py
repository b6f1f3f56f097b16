"""``agent-factory login --oidc``: log in by a provider in the browser, which comes back to this machine."""

from __future__ import annotations

import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import click
import httpx

from api.cli.remote import RemoteError, read_answer

SECONDS = 300.0
"""How long the browser is waited for."""


def log_in_by_browser(address: str, provider: str, organization: str | None) -> dict[str, Any]:
    """Return the tokens of a login by a provider.

    :raises RemoteError: The control plane or the provider refuses, or nobody came back in time.
    """
    path = f"{address}/api/v1/auth/oidc/{quote(provider, safe='')}"
    try:
        with httpx.Client(timeout=30.0) as client:
            begun = read_answer(client.post(f"{path}/begin", json={"back_to": "cli"}))
            back = _wait_for_browser(begun["authorization_url"], begun["redirect_uri"])
            if "code" not in back or "state" not in back:
                raise RemoteError(f"The provider refused the login: {back.get('error', 'no code came back')!r}.")
            order: dict[str, str] = {name: back[name] for name in ("code", "state", "iss") if name in back}
            order |= {"login_token": begun["login_token"]} | ({"organization": organization} if organization else {})
            answer: dict[str, Any] = read_answer(client.post(f"{path}/finish", json=order))
            return answer
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise RemoteError(f"No control plane answers at {address} ({type(error).__name__}).") from None


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
