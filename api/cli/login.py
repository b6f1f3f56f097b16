"""``agent-factory login | logout | whoami``."""

from __future__ import annotations

import os
import sys

import click
import httpx

from api.cli.output import print_json
from api.cli.remote import Remote, RemoteError, call, read_answer, running_platform_url
from api.cli.stored_login import StoredLogin, read_login, store_login


@click.command("login")
@click.option("--url", help="The control plane. [default: AGENT_FACTORY_API_URL, else the running platform]")
@click.option("--email", prompt="E-mail address", help="Whose account.")
@click.option("--organization", metavar="SLUG", help="Which organisation to act for. [default: the first joined]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def login_command(url: str | None, email: str, organization: str | None, password_stdin: bool) -> None:
    """Log in; the other commands use the login until `logout`."""
    address = url or os.environ.get("AGENT_FACTORY_API_URL") or running_platform_url()
    if not address:
        raise RemoteError("No control plane is known: give --url, or start one with `agent-factory up`.")
    address = address.rstrip("/")
    password = sys.stdin.readline().rstrip("\n") if password_stdin else click.prompt("Password", hide_input=True)
    order = {"email": email, "password": password} | ({"organization": organization} if organization else {})
    try:
        with httpx.Client(timeout=30.0) as client:
            response = client.post(f"{address}/api/v1/auth/token", json=order)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise RemoteError(f"No control plane answers at {address} ({type(error).__name__}).") from None
    answer = read_answer(response)
    store_login(StoredLogin.of(address, answer))
    click.echo(f"Logged in at {address} as {email}: {answer['role']} of {answer['organization']}.")


@click.command("logout")
def logout_command() -> None:
    """End the session and forget the login."""
    login = read_login()
    if login is None:
        click.echo("Nobody is logged in.")
        return
    try:
        Remote.of_login().request("POST", "/api/v1/auth/logout")
    except RemoteError as error:
        click.echo(f"The control plane was not told: {error.message}", err=True)
    store_login(None)
    click.echo("Logged out.")


@click.command("whoami")
def whoami_command() -> None:
    """Show who the commands act as, and what they may."""
    print_json(call(Remote(), "GET", "/api/v1/auth/me"))
