"""``agent-factory templates``: workflows to begin with, on a control plane."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from agent_factory_client.schemas import TemplateView
from api.cli.files import read_object
from api.cli.finding import find_agent, find_template
from api.cli.output import print_json
from api.cli.remote import control_plane
from api.cli.run import JsonParam
from compiler.problems import one_line


@click.group("templates")
def templates_command() -> None:
    """Begin with templates: the public ones, and those of the organisation. TEMPLATE is an id, or the name of an own
    one. (`agent-factory new` writes a file from a public one without a control plane.)"""


@templates_command.command("list")
@click.option("--search", metavar="TEXT", help="Only those whose name or description contains it.")
@click.option(
    "--source", type=click.Choice(["own", "public"]), help="Only those of the organisation, or the public ones."
)
@click.option("--category", help="Only those of a category.")
@click.option("--tag", help="Only those with a tag.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def list_command(
    search: str | None,
    source: Literal["own", "public"] | None,
    category: str | None,
    tag: str | None,
    output_format: str,
) -> None:
    """List the templates: the organisation's, the newest first, then the public ones."""
    with control_plane() as factory:
        templates = [*factory.templates.each(q=search, source=source, category=category, tag=tag)]
    if output_format == "json":
        print_json({"templates": templates})
        return
    for template in templates:
        click.echo(_line(template))
    if not templates:
        click.echo("No templates.", err=True)


def _line(template: TemplateView) -> str:
    words = [*filter(None, [template["category"]]), *(f"#{tag}" for tag in template["tags"])]
    about = f" ({one_line(', '.join(words))})" if words else ""
    return f"{template['id']}  {template['source']}  {one_line(template['name'])}{about}"


@templates_command.command("show")
@click.argument("template")
def show_command(template: str) -> None:
    """Show a template with its workflow."""
    with control_plane() as factory:
        print_json(find_template(factory, template))


@templates_command.command("create")
@click.argument("name")
@click.option("--workflow", "file", type=click.Path(path_type=Path), help="The file of its workflow.")
@click.option("--agent", help="The agent whose draft it is made of: its id, or the id of its workflow.")
@click.option("--version", type=int, help="Of the agent, instead of its draft.")
@click.option("--description", help="What it is for.")
@click.option("--category", help="Where people look for it.")
@click.option("--tag", "tags", multiple=True, help="A word to find it by; can be given several times.")
@click.option("--example", type=JsonParam(), help="An input to try it with: JSON or @file.")
def create_command(
    name: str,
    file: Path | None,
    agent: str | None,
    version: int | None,
    tags: tuple[str, ...],
    example: Any,
    **said: Any,
) -> None:
    """Make a template of the organisation with a NAME, of a workflow's file or of an agent."""
    if (file is None) == (agent is None):
        raise click.UsageError("--workflow or --agent must be given, and not both.")
    workflow = None if file is None else read_object(file)
    with control_plane() as factory:
        agent_id = None if agent is None else find_agent(factory, agent)["id"]
        made = factory.templates.create(
            name,
            workflow=workflow,
            agent_id=agent_id,
            version=version,
            tags=list(tags),
            input_example=example,
            **said,
        )
    print_json(made)


@templates_command.command("use")
@click.argument("template")
@click.argument("name")
@click.option("--id", "workflow_id", help="The id of its workflow. [default: made of the name]")
@click.option("--description", help="What it is for. [default: the template's]")
def use_command(template: str, name: str, workflow_id: str | None, description: str | None) -> None:
    """Make an agent with a NAME and a draft from a template."""
    with control_plane() as factory:
        found = find_template(factory, template)["id"]
        print_json(factory.templates.instantiate(found, name, workflow_id=workflow_id, description=description))


@templates_command.command("delete")
@click.argument("template")
def delete_command(template: str) -> None:
    """Remove a template of the organisation; agents that were made from it stay."""
    with control_plane() as factory:
        factory.templates.remove(find_template(factory, template)["id"])
    click.echo("deleted")
