"""``agent-factory export`` and ``import``: agents, templates and variables as a zip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click

from agent_factory_client import ApiError
from api.cli.files import read_whole, write_new
from api.cli.finding import find_agent
from api.cli.output import print_json
from api.cli.remote import control_plane
from compiler.problems import one_line


@click.command("export")
@click.argument("agent", required=False)
@click.option(
    "--out", type=click.Path(path_type=Path), help="The file to write. [default: AGENT.zip, organisation.zip]"
)
@click.option("--versions/--no-versions", default=True, show_default=True, help="Also what was published.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def export_command(agent: str | None, out: Path | None, versions: bool, force: bool) -> None:
    """Write a zip of AGENT, or of all agents, templates and variables; of secret variables the names only."""
    with control_plane() as factory:
        if agent is None:
            name, content = "organisation", factory.transfers.export(versions=versions)
        else:
            found = find_agent(factory, agent)
            name, content = found["workflow_id"], factory.transfers.export_agent(found["id"], versions=versions)
    click.echo(f"Wrote {write_new(out or Path(f'{name}.zip'), content, force=force)}.")


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--existing",
    type=click.Choice(["refuse", "keep", "replace"]),
    default="refuse",
    show_default=True,
    help="What becomes of what is here already and differs.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def import_command(
    file: Path, existing: Literal["refuse", "keep", "replace"], dry_run: bool, output_format: str
) -> None:
    """Bring in the zip in FILE, all of it or nothing: drafts, templates, variables. Nothing is published.

    Exit code 0: brought in, or could be; 1: refused, such as for what is here already and differs.
    """
    content = read_whole(file)
    with control_plane() as factory:
        try:
            report: Any = factory.transfers.bring(content, existing=existing, dry_run=dry_run)
        except ApiError as error:
            if "report" in error.problem:
                _print(error.problem["report"], output_format)
            raise
    _print(report, output_format)
    # A dry run says what the import itself would answer.
    conflicts = any(each["change"] == "conflict" for part in _PARTS for each in report[part])
    sys.exit(1 if conflicts else 0)


_PARTS = ("agents", "templates", "variables")


def _print(report: Any, output_format: str) -> None:
    if output_format == "json":
        print_json(report)
        return
    for agent in report["agents"]:
        click.echo(f"agent {agent['workflow_id']}: {_change(agent)}")
    for template in report["templates"]:
        click.echo(f"template {one_line(template['name'])}: {_change(template)}")
    for variable in report["variables"]:
        click.echo(f"variable {variable['environment']}/{variable['name']}: {_change(variable)}")


def _change(entry: Any) -> str:
    differs = f" ({', '.join(entry['differs'])})" if entry.get("differs") else ""
    return f"{entry['change'].replace('_', ' ')}{differs}"
