"""``agent-factory validate``: report the problems of a workflow file."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from api.cli.files import read_source
from api.cli.output import Format, chosen_format, format_option, print_diagnostics, print_json
from compiler import validate_workflow
from compiler.diagnostics import has_errors


@click.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
@format_option
def validate_command(file: Path, output_format: Format | None) -> None:
    """Report the problems of the workflow in FILE.

    Exit code 0: no errors; 1: errors; 2: wrong use.
    """
    diagnostics = validate_workflow(read_source(file))
    if chosen_format(output_format) == "json":
        print_json({"diagnostics": [diagnostic.as_json() for diagnostic in diagnostics]})
    else:
        print_diagnostics(diagnostics)
        click.echo(_summary(len(diagnostics), has_errors(diagnostics)))
    sys.exit(1 if has_errors(diagnostics) else 0)


def _summary(count: int, errors: bool) -> str:
    if count == 0:
        return "The workflow is valid."
    verdict = "The workflow is not valid." if errors else "The workflow is valid, with warnings."
    return f"{verdict} What the codes mean: docs/diagnostics/<code>.md"
