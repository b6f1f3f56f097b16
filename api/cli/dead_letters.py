"""``agent-factory dead-letters``: look at what the relay gave up, and have it delivered again."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click
import orjson

from api.cli.output import print_json
from api.cli.remote import Remote, call
from compiler.problems import one_line

PATH = "/api/v1/dead-letters"
PAGE = 200

_workflow = click.option("--workflow", "workflow_id", metavar="ID", help="Only those of this workflow.")


@click.group("dead-letters")
def dead_letters_command() -> None:
    """Look at what the relay gave up, and have it delivered again."""


@dead_letters_command.command("list")
@_workflow
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_command(workflow_id: str | None, output_format: str) -> None:
    """List the orders to Airflow that the relay gave up, the newest first."""
    remote, letters = Remote(), []
    query: dict[str, Any] = {"limit": PAGE} | ({"workflow_id": workflow_id} if workflow_id else {})
    while True:
        page = call(remote, "GET", PATH, params=query)
        letters += page["dead_letters"]
        if page["next"] is None:
            break
        query["before"] = page["next"]
    if output_format == "json":
        print_json({"dead_letters": letters})
        return
    for letter in letters:
        click.echo(
            f"{letter['id']}  {letter['kind']} {letter['workflow_id']}, execution {letter['execution_id']}  "
            f"dead since {letter['dead_since']}, {letter['attempts']} attempts: {one_line(letter['error'] or '')}"
        )
    if not letters:
        click.echo("No dead letters.", err=True)


@dead_letters_command.command("redeliver")
@click.argument("letter_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them, instead of one.")
@_workflow
def redeliver_command(letter_id: str | None, everything: bool, workflow_id: str | None) -> None:
    """Have a dead letter delivered again, or all: the executions that failed for it are pending again."""
    if (letter_id is None) != everything or (workflow_id and not everything):
        raise click.UsageError("Name one ID, or give --all, with or without --workflow.")
    if letter_id is not None:
        answer = call(Remote(), "POST", f"{PATH}/{quote(letter_id, safe='')}/redeliver")
    else:
        body = orjson.dumps({"workflow_id": workflow_id})
        headers = {"content-type": "application/json"}
        answer = call(Remote(), "POST", f"{PATH}/redeliver", content=body, headers=headers)
    print_json(answer)
