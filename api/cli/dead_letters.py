"""``agent-factory dead-letters``: look at what the relay gave up, and have it delivered again."""

from __future__ import annotations

import click

from api.cli.output import print_json
from api.cli.remote import control_plane
from compiler.problems import one_line

_workflow = click.option("--workflow", "workflow_id", metavar="ID", help="Only those of this workflow.")


@click.group("dead-letters")
def dead_letters_command() -> None:
    """Look at what the relay gave up, and have it delivered again."""


@dead_letters_command.command("list")
@_workflow
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_command(workflow_id: str | None, output_format: str) -> None:
    """List the orders to Airflow that the relay gave up, the newest first."""
    with control_plane() as factory:
        letters = [*factory.dead_letters.each(workflow_id=workflow_id)]
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
    with control_plane() as factory:
        if letter_id is not None:
            print_json(factory.dead_letters.redeliver(letter_id))
        else:
            print_json(factory.dead_letters.redeliver_all(workflow_id=workflow_id))
