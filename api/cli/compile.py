"""``agent-factory compile``: turn a workflow file into an Airflow DAG and its plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from api.cli.files import read_source, write_files
from api.cli.output import Format, chosen_format, format_option, print_diagnostics, print_json
from compiler import compile_workflow
from compiler.fields import is_organization


def _check_organization(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not is_organization(value):
        raise click.BadParameter(f"must be a-z, then a-z, 0-9 and -, at most 39 characters; got '{value}'.")
    return value


@click.command("compile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--org", "organization", required=True, callback=_check_organization, help="Slug of the organisation.")
@click.option("--out", "directory", required=True, type=click.Path(path_type=Path), help="Directory for the two files.")
@click.option("--isolation", type=click.Choice(["process", "kubernetes"]), default="process", show_default=True)
@click.option("--fusion", type=click.Choice(["auto", "off"]), help="Overrules the workflow's settings.fusion.")
@format_option
def compile_command(
    file: Path,
    organization: str,
    directory: Path,
    isolation: Literal["process", "kubernetes"],
    fusion: Literal["auto", "off"] | None,
    output_format: Format | None,
) -> None:
    """Compile the workflow in FILE to an Airflow DAG and its plan.

    Exit code 0: the files are written; 1: the workflow has errors, nothing is written; 2: wrong use.
    """
    result = compile_workflow(read_source(file), organization=organization, isolation=isolation, fusion=fusion)
    files = write_files(directory, result.files) if result.plan is not None else []
    if chosen_format(output_format) == "json":
        diagnostics = [diagnostic.as_json() for diagnostic in result.diagnostics]
        print_json({"files": files, "digest": result.digest or None, "diagnostics": diagnostics})
    else:
        print_diagnostics(result.diagnostics)
        click.echo("\n".join(files) if files else "Nothing was written: the workflow has errors.")
    sys.exit(0 if files else 1)
