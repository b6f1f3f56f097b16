"""``agent-factory executions``: look at them, follow them, end them, run them again."""

from __future__ import annotations

import sys
from typing import Any

import click
import orjson

from agent_factory_client.executions import FINAL
from api.cli.execution_text import describe_comparison, describe_event, describe_execution, describe_summary
from api.cli.output import print_json
from api.cli.remote import RemoteError, control_plane

_format = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group("executions")
def executions_command() -> None:
    """Look at executions, cancel them, and run them again."""


@executions_command.command("show")
@click.argument("execution_id", metavar="ID")
@_format
def show_command(execution_id: str, output_format: str) -> None:
    """Show an execution with its steps."""
    with control_plane() as factory:
        execution = factory.executions.show(execution_id)
    if output_format == "json":
        print_json(execution)
    else:
        click.echo("\n".join(describe_execution(execution)))


@executions_command.command("cancel")
@click.argument("execution_id", metavar="ID")
def cancel_command(execution_id: str) -> None:
    """Cancel an execution; one that has ended stays as it is."""
    with control_plane() as factory:
        print_json(factory.executions.cancel(execution_id))


@executions_command.command("retry")
@click.argument("execution_id", metavar="ID")
def retry_command(execution_id: str) -> None:
    """Have a failed or cancelled execution go on where it failed."""
    with control_plane() as factory:
        print_json(factory.executions.retry(execution_id))


@executions_command.command("rerun")
@click.argument("execution_id", metavar="ID")
@click.option("--from", "step_id", metavar="STEP", help="The first task to run again. [default: all]")
def rerun_command(execution_id: str, step_id: str | None) -> None:
    """Run an ended execution again, what succeeded too: model calls are paid again."""
    with control_plane() as factory:
        print_json(factory.executions.rerun(execution_id, from_step=step_id))


@executions_command.command("list")
@click.option("--workflow", "workflow_id", metavar="ID", help="Only those of this workflow.")
@click.option("--version", type=click.IntRange(min=1), help="Only those of this version of it.")
@click.option(
    "--status", multiple=True, type=click.Choice(["pending", "running", *sorted(FINAL)]), help="May be repeated."
)
@click.option("--trigger", type=click.Choice(["manual", "webhook", "schedule", "event", "workflow"]))
@click.option("--from", "accepted_from", metavar="TIME", help="Accepted then or later; ISO 8601 with a time zone.")
@click.option("--before", "accepted_before", metavar="TIME", help="Accepted earlier.")
@click.option("--min-ms", "min_duration_ms", type=float, help="That took at least so long.")
@click.option("--max-ms", "max_duration_ms", type=float, help="That took at most so long.")
@click.option("--parent", "parent_execution_id", metavar="ID", help="Only those that this execution waits for.")
@click.option("--error", "error_code", metavar="CODE", help="Only those that ended with this error.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@_format
def list_command(output_format: str, limit: int, **filters: Any) -> None:
    """List executions, the newest first."""
    with control_plane() as factory:
        found = [*factory.executions.each(limit=limit, **filters)]
    if output_format == "json":
        print_json({"executions": found})
        return
    for each in found:
        click.echo(describe_summary(each))
    if not found:
        click.echo("No executions.", err=True)


@executions_command.command("watch")
@click.argument("execution_id", metavar="ID")
@_format
def watch_command(execution_id: str, output_format: str) -> None:
    """Follow an execution until it has ended; exit 0 only on success."""
    with control_plane() as factory:
        for event in factory.executions.follow(execution_id):
            if output_format == "json":
                click.echo(orjson.dumps({"event": event.name, **event.data}).decode())
            else:
                click.echo(describe_event(event.name, event.data))
            if event.name == "execution" and event.data["status"] in FINAL:
                sys.exit(0 if event.data["status"] == "success" else 1)
    raise RemoteError(f"The execution {execution_id} is gone.")


@executions_command.command("compare")
@click.argument("execution_id", metavar="ID")
@click.argument("other_id", metavar="OTHER")
@_format
def compare_command(execution_id: str, other_id: str, output_format: str) -> None:
    """Show how two executions differ, step by step."""
    with control_plane() as factory:
        compared = factory.executions.compare(execution_id, other_id)
    if output_format == "json":
        print_json(compared)
    else:
        click.echo("\n".join(describe_comparison(compared)))
