"""``agent-factory new``: a workflow file to begin with."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from api.cli.files import write_new
from api.cli.output import print_diagnostics
from api.templates.library import TEMPLATES
from api.templates.scaffolding import scaffold
from compiler import validate_workflow
from compiler.fields import is_identifier


def _check_name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not is_identifier(value):
        raise click.BadParameter(f"must be a-z, then a-z, 0-9 and _, at most 63 characters; got {value!r}.")
    return value


@click.command("new")
@click.argument("name", required=False, callback=_check_name)
@click.option("--template", type=click.Choice(list(TEMPLATES)), help="What to begin with.")
@click.option("--list", "list_them", is_flag=True, help="List the templates.")
@click.option("--out", "path", type=click.Path(path_type=Path), help="The file to write. [default: NAME.json]")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def new_command(name: str | None, template: str | None, list_them: bool, path: Path | None, force: bool) -> None:
    """Write a workflow with the id NAME, made from a template.

    Exit code 0: written or listed; 2: wrong use, such as a file that is there already.
    """
    if list_them:
        width = max(map(len, TEMPLATES))
        click.echo("\n".join(f"{each:<{width}}  {TEMPLATES[each].about}" for each in TEMPLATES))
        return
    if name is None or template is None:
        raise click.UsageError("NAME and --template are needed; --list shows the templates.")
    source = scaffold(TEMPLATES[template].source, name, name.replace("_", " ").capitalize())
    written = write_new(path or Path(f"{name}.json"), source, force=force)
    # What does not run in this version yet is said now, and not only when it is published.
    print_diagnostics(validate_workflow(source), to_stderr=True)
    file, example = shlex.quote(written), shlex.quote(json.dumps(TEMPLATES[template].example))
    click.echo(f"Wrote {written}. Try it:")
    click.echo(f"  agent-factory explain {file}\n  agent-factory run {file} --input {example}")
