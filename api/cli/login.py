"""``agent-factory login | logout | whoami``."""

from __future__ import annotations

import os
import sys

import click

from agent_factory_client import AgentFactory, ApiError, ConnectionFailed, NotAControlPlane
from api.cli.browser_login import log_in_by_browser
from api.cli.output import print_json
from api.cli.remote import RemoteError, control_plane, control_plane_of_login, running_platform_url
from api.cli.stored_login import StoredLogin, read_login, store_login


@click.command("login")
@click.option("--url", help="The control plane. [default: AGENT_FACTORY_API_URL, else the running platform]")
@click.option("--email", help="Whose account. [default: asked for]")
@click.option("--oidc", metavar="NAME", help="Log in by this OpenID Connect provider, in the browser.")
@click.option("--organization", metavar="SLUG", help="Which organisation to act for. [default: the first joined]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def login_command(
    url: str | None, email: str | None, oidc: str | None, organization: str | None, password_stdin: bool
) -> None:
    """Log in; the other commands use the login until `logout`."""
    address = url or os.environ.get("AGENT_FACTORY_API_URL") or running_platform_url()
    if not address:
        raise RemoteError("No control plane is known: give --url, or start one with `agent-factory up`.")
    address = address.rstrip("/")
    if oidc is not None:
        answer = log_in_by_browser(address, oidc, organization)
        store_login(StoredLogin.of(address, answer))
        click.echo(f"Logged in at {address} by {oidc}: {answer['role']} of {answer['organization']}.")
        return
    email = email or click.prompt("E-mail address")
    password = sys.stdin.readline().rstrip("\n") if password_stdin else click.prompt("Password", hide_input=True)
    with AgentFactory(address, timeout=30.0) as factory:
        answer = factory.auth.log_in(email, password, organization=organization)
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
        with control_plane_of_login() as factory:
            factory.auth.log_out()
    except (RemoteError, ApiError, ConnectionFailed, NotAControlPlane) as error:
        click.echo(f"The control plane was not told: {error}", err=True)
    store_login(None)
    click.echo("Logged out.")


@click.command("whoami")
def whoami_command() -> None:
    """Show who the commands act as, and what they may."""
    with control_plane() as factory:
        print_json(factory.auth.me())
