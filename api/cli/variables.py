"""``agent-factory variables``: list, set and remove the organisation's variables."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import quote

import click
import orjson

from api.cli.output import print_json
from api.cli.remote import Remote, call, refuse_response
from compiler.problems import one_line

PATH = "/api/v1/variables"

_environment = click.option("--environment", default="default", show_default=True, metavar="NAME")


@click.group("variables")
def variables_command() -> None:
    """List, set and remove the variables that workflows read as `vars`."""


@variables_command.command("list")
@click.option("--environment", metavar="NAME", help="Only those of this environment.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_command(environment: str | None, output_format: str) -> None:
    """List the variables; of secret ones the names only."""
    query = {"environment": environment} if environment else {}
    found = call(Remote(), "GET", PATH, params=query)
    if output_format == "json":
        print_json(found)
        return
    for variable in found["variables"]:
        value = "(secret)" if variable["secret"] else one_line(orjson.dumps(variable["value"]).decode())
        click.echo(f"{variable['environment']}  {variable['name']}  {value}")
    if not found["variables"]:
        click.echo("No variables.", err=True)


@variables_command.command("set")
@click.argument("name")
@click.argument("value", required=False)
@click.option("--secret", is_flag=True, help="Encrypt it. Its value is asked for, or read from standard input.")
@click.option("--json", "is_json", is_flag=True, help="VALUE is JSON, not a text.")
@_environment
def set_command(name: str, value: str | None, secret: bool, is_json: bool, environment: str) -> None:
    """Set the variable NAME to VALUE; without VALUE, to what is typed or read from standard input."""
    if secret and (value is not None or is_json):
        raise click.UsageError("A secret does not belong on the command line, where others see it; leave VALUE out.")
    text = _ask(name) if value is None else value
    body = {"value": _parse(text) if is_json else text, "secret": secret}
    print_json(
        call(
            Remote(),
            "PUT",
            f"{PATH}/{_checked(name)}",
            params={"environment": environment},
            content=orjson.dumps(body),
            headers={"content-type": "application/json"},
        )
    )


@variables_command.command("unset")
@click.argument("name")
@_environment
def unset_command(name: str, environment: str) -> None:
    """Remove the variable NAME."""
    response = Remote().request("DELETE", f"{PATH}/{_checked(name)}", params={"environment": environment})
    if response.status_code != 204:
        refuse_response(response)


def _checked(name: str) -> str:
    return quote(name, safe="")


def _ask(name: str) -> str:
    """Return what is typed at a terminal, unseen, or all of standard input without its last line break."""
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True))
    return sys.stdin.read().removesuffix("\n")


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"VALUE must be JSON: {error}") from None
