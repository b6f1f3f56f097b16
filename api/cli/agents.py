"""``agent-factory agents``: design agents on a control plane."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson

from agent_factory_client import AgentFactory, ApiError
from agent_factory_client.schemas import AgentView, TrialCreate
from api.cli.execution_text import describe_event
from api.cli.files import read_object
from api.cli.finding import find_agent
from api.cli.output import print_json
from api.cli.remote import control_plane
from api.cli.run import JsonParam
from api.cli.workflows import print_diagnostics_of
from compiler.problems import one_line

_format = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group("agents")
def agents_command() -> None:
    """Design agents: drafts, tests, versions. AGENT is an agent's id, or the id of its workflow."""


@agents_command.command("list")
@click.option("--search", metavar="TEXT", help="Only those whose name contains it.")
@click.option("--status", type=click.Choice(["draft", "active", "deployed", "archived"]))
@_format
def list_command(search: str | None, status: str | None, output_format: str) -> None:
    """List the agents, the newest first."""
    with control_plane() as factory:
        agents = [*factory.agents.each(q=search, status=status)]
    if output_format == "json":
        print_json({"agents": agents})
        return
    for agent in agents:
        click.echo(f"{agent['id']}  {agent['workflow_id']}  {_standing(agent)}  {one_line(agent['name'])}")
    if not agents:
        click.echo("No agents.", err=True)


def _standing(agent: AgentView) -> str:
    version = "" if agent["version"] is None else f" version {agent['version']}"
    changed = ", draft changed" if agent["draft"]["changed"] and agent["version"] is not None else ""
    return f"{agent['status']}{version}{changed}"


@agents_command.command("create")
@click.argument("name")
@click.option("--workflow", "file", type=click.Path(path_type=Path), help="The first draft.")
@click.option("--description", help="What it is for.")
def create_command(name: str, file: Path | None, description: str | None) -> None:
    """Make an agent with a NAME."""
    workflow = None if file is None else read_object(file)
    with control_plane() as factory:
        print_json(factory.agents.create(name, workflow=workflow, description=description))


@agents_command.command("show")
@click.argument("agent")
def show_command(agent: str) -> None:
    """Show an agent."""
    with _of(agent) as (_, found):
        print_json(found)


@agents_command.command("pull")
@click.argument("agent")
@click.option("--out", type=click.Path(path_type=Path), help="Write it there. [default: standard output]")
def pull_command(agent: str, out: Path | None) -> None:
    """Give the draft's workflow."""
    with _of(agent) as (factory, found):
        workflow = factory.agents.draft(found["id"])["workflow"]
    if out is None:
        print_json(workflow)
    else:
        out.write_bytes(orjson.dumps(workflow, option=orjson.OPT_INDENT_2) + b"\n")


@agents_command.command("push")
@click.argument("agent")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Also over what somebody changed meanwhile.")
@click.option("--etag", help="The draft's state that FILE was made from. [default: the state now]")
def push_command(agent: str, file: Path, force: bool, etag: str | None) -> None:
    """Store the workflow in FILE as the draft; the canvas stays."""
    workflow = read_object(file)
    with _of(agent) as (factory, found):
        canvas = factory.agents.draft(found["id"])["canvas"]
        state = "*" if force else etag or found["draft"]["etag"]
        factory.agents.save_draft(found["id"], workflow, canvas=canvas, if_match=state)
        print_json(factory.agents.show(found["id"]))


@agents_command.command("preview")
@click.argument("agent")
@_format
def preview_command(agent: str, output_format: str) -> None:
    """Say what the draft would become; exit 0 where it could be published."""
    with _of(agent) as (factory, found):
        preview = factory.agents.preview(found["id"])
    if output_format == "json" or not preview["valid"]:
        print_json(preview)
    else:
        click.echo(preview.get("tree") or "")
    sys.exit(0 if preview["valid"] else 1)


@agents_command.command("test")
@click.argument("agent")
@click.option("--input", "input_value", type=JsonParam(), default="{}", help="The execution's input. [default: {}]")
@click.option("--pins", type=JsonParam(), help="Outputs of steps that are not to run, by task.")
@click.option("--step", help="The one step to run, with pins for those that it reads.")
@click.option("--live", is_flag=True, help="Steps that do something outside really do it.")
@_format
def test_command(agent: str, input_value: Any, pins: Any, step: str | None, live: bool, output_format: str) -> None:
    """Run the draft without publishing it, and show its steps as they end; exit 0 only on success."""
    trial: TrialCreate = {"input": input_value, "live": live}
    if pins is not None:
        trial["pins"] = pins
    if step is not None:
        trial["step"] = step
    status = "failed"
    with _of(agent) as (factory, found):
        for event in factory.agents.test(found["id"], trial):
            status = str(event.data.get("status", status))
            if output_format == "json":
                click.echo(orjson.dumps({"event": event.name, **event.data}).decode())
            elif event.name in ("step", "finished"):
                click.echo(describe_event(event.name, event.data))
    sys.exit(0 if status == "success" else 1)


@agents_command.command("publish")
@click.argument("agent")
@click.option("--etag", help="Publish only if the draft is still in this state. [default: the state now]")
def publish_command(agent: str, etag: str | None) -> None:
    """Publish the draft: the next executions use it."""
    with _of(agent) as (factory, found):
        try:
            published = factory.agents.publish(found["id"], if_match=etag or found["draft"]["etag"])
        except ApiError as error:
            print_diagnostics_of(error)
            raise
    print_json(published)


@agents_command.command("versions")
@click.argument("agent")
def versions_command(agent: str) -> None:
    """List the newest versions."""
    with _of(agent) as (factory, found):
        print_json(factory.agents.versions(found["id"], limit=100))


@agents_command.command("diff")
@click.argument("agent")
@click.argument("before")
@click.argument("after")
def diff_command(agent: str, before: str, after: str) -> None:
    """Show what changed from BEFORE to AFTER: numbers of versions, or `draft`."""
    with _of(agent) as (factory, found):
        print_json(factory.agents.diff(found["id"], before, after))


@agents_command.command("rollback")
@click.argument("agent")
@click.argument("number", type=int)
def rollback_command(agent: str, number: int) -> None:
    """Publish version NUMBER again, as a new one."""
    with _of(agent) as (factory, found):
        print_json(factory.agents.rollback(found["id"], number))


@agents_command.command("archive")
@click.argument("agent")
@click.option("--undo", is_flag=True, help="Take it back from the archive.")
def archive_command(agent: str, undo: bool) -> None:
    """Have nothing start an agent any more."""
    with _of(agent) as (factory, found):
        print_json(factory.agents.unarchive(found["id"]) if undo else factory.agents.archive(found["id"]))


@agents_command.command("delete")
@click.argument("agent")
def delete_command(agent: str) -> None:
    """Remove an agent that was never published."""
    with _of(agent) as (factory, found):
        factory.agents.remove(found["id"])
    click.echo("deleted")


@contextmanager
def _of(agent: str) -> Iterator[tuple[AgentFactory, AgentView]]:
    """Give the control plane and the agent of an id, its own or its workflow's."""
    with control_plane() as factory:
        yield factory, find_agent(factory, agent)
