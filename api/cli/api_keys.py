"""``agent-factory api-keys``: keys for programs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import click
import orjson

from api.cli.output import print_json
from api.cli.remote import Remote, call
from compiler.problems import one_line

PATH = "/api/v1/api-keys"


@click.group("api-keys")
def api_keys_command() -> None:
    """Make, list and revoke API keys."""


@api_keys_command.command("create")
@click.argument("name")
@click.option(
    "--permission", "permissions", multiple=True, required=True, metavar="PERMISSION",
    help="What it may, like workflow:read or execution:*; can be given several times.",
)  # fmt: skip
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it lasts.")
def create_command(name: str, permissions: tuple[str, ...], days: int) -> None:
    """Make a key with a NAME; it is shown this once."""
    expires_at = datetime.now(UTC) + timedelta(days=days)
    order = {"name": name, "permissions": permissions, "expires_at": expires_at}
    headers = {"content-type": "application/json"}
    print_json(call(Remote(), "POST", PATH, content=orjson.dumps(order), headers=headers))


@api_keys_command.command("list")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_command(output_format: str) -> None:
    """List the keys."""
    answer = call(Remote(), "GET", PATH)
    if output_format == "json":
        print_json(answer)
        return
    for key in answer["api_keys"]:
        end = f"revoked {key['revoked_at']}" if key["revoked_at"] else f"until {key['expires_at'] or 'revoked'}"
        used = f"last used {key['last_used_at']}" if key["last_used_at"] else "never used"
        may = ", ".join(key["permissions"])
        click.echo(f"{key['id']}  af_{key['prefix']}_…  {one_line(key['name'])}: {may}; {end}, {used}")


@api_keys_command.command("revoke")
@click.argument("key_id", metavar="ID")
def revoke_command(key_id: str) -> None:
    """Revoke a key: it is refused from now on."""
    Remote().send("DELETE", f"{PATH}/{quote(key_id, safe='')}")
    click.echo("revoked")
