"""``agent-factory operator``: for who runs the control plane; it talks to the database, so it needs no login."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar, get_args

import click
from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from api.accounts.emails import Email
from api.accounts.operations import OperationRefused, Operations
from api.database import Database
from api.identity.permissions import MemberRole
from api.platform.home import Home
from api.platform.postgres import locate
from api.problems import Problem
from api.settings import Settings, SettingsError, load_settings

T = TypeVar("T")


class _EmailParam(click.ParamType[str]):
    name = "email"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address in lower case."""
        try:
            email: str = TypeAdapter(Email).validate_python(value)
        except ValidationError:
            self.fail(f"must be an e-mail address; got {value!r}", param, ctx)
        return email


_email = click.argument("email", type=_EmailParam())


def _settings() -> Settings:
    """Return the settings of the environment, else those of the embedded platform."""
    if os.environ.get("AGENT_FACTORY_DATABASE_URL"):
        return load_settings()
    home = Home.from_environment()
    if not home.read_state():
        raise SettingsError("Set AGENT_FACTORY_DATABASE_URL, or start the platform with `agent-factory up`.")
    credentials = home.credentials()
    return Settings.model_validate(
        {
            "database_url": locate(home.path, credentials.postgres_password).url("agent_factory"),
            "api_url": home.api_url,
            "runtime_token": credentials.runtime_token,
            "secret_key": credentials.secret_key,
        }
    )


def _do(work: Callable[[Operations], Awaitable[T]]) -> T:
    """Do something with the database.

    :raises click.ClickException: It cannot be done.
    """

    async def run() -> T:
        settings = _settings()
        database = Database(settings)
        try:
            return await work(Operations(database, settings))
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except (OperationRefused, SettingsError) as error:
        raise click.ClickException(str(error)) from None
    except Problem as problem:
        raise click.ClickException(problem.detail) from None
    except (SQLAlchemyError, OSError) as error:
        raise click.ClickException(f"The database cannot be used ({type(error).__name__}).") from None


@click.group("operator")
def operator_command() -> None:
    """Do what no role of the API may, on the machine that reaches the database."""


@operator_command.command("password-link")
@_email
def password_link_command(email: str) -> None:
    """Print a link by which the user of EMAIL sets a new password."""
    click.echo(_do(lambda operations: operations.password_link(email)).get_secret_value())


@operator_command.command("invitation-link")
@_email
@click.option("--role", type=click.Choice(get_args(MemberRole)), required=True)
@click.option("--organization", metavar="SLUG", default="default", show_default=True)
def invitation_link_command(email: str, role: str, organization: str) -> None:
    """Invite EMAIL and print the link; open invitations of the address are void."""
    click.echo(_do(lambda operations: operations.invitation_link(email, role, organization)).get_secret_value())


@operator_command.command("admin")
@_email
@click.option("--remove", is_flag=True, help="Make them no admin any more.")
def admin_command(email: str, remove: bool) -> None:
    """Make the user of EMAIL an admin of the platform."""
    _do(lambda operations: operations.set_admin(email, is_admin=not remove))
    click.echo(f"{email} is {'no admin any more' if remove else 'an admin of the platform'}.")


@operator_command.command("disable")
@_email
@click.option("--enable", is_flag=True, help="Let them in again.")
def disable_command(email: str, enable: bool) -> None:
    """Disable the user of EMAIL: sessions end and API keys are refused at once."""
    _do(lambda operations: operations.set_disabled(email, is_disabled=not enable))
    click.echo(f"{email} is {'enabled' if enable else 'disabled'}.")


@operator_command.command("rotate-keys")
@click.option("--at-once", is_flag=True, help="Distrust the old keys now, as after a leak.")
def rotate_keys_command(at_once: bool) -> None:
    """Make a new signing key for access tokens."""
    click.echo(_do(lambda operations: operations.rotate_keys(at_once=at_once)))
