"""``agent-factory explain``: what a workflow does, in which Airflow tasks, before it runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from api.cli.files import read_source
from api.cli.output import print_diagnostics, print_json
from compiler.diagnostics import has_errors
from compiler.explain import as_mermaid, as_text, explain_workflow


@click.command("explain")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "mermaid", "json"]),
    default="text",
    show_default=True,
    help="A tree of lines, a Mermaid flowchart, or all of it as JSON.",
)
@click.option("--fusion", type=click.Choice(["auto", "off"]), help="Overrules the workflow's settings.fusion.")
def explain_command(
    file: Path, output_format: Literal["text", "mermaid", "json"], fusion: Literal["auto", "off"] | None
) -> None:
    """Explain the workflow in FILE: its Airflow tasks in order, what runs in them, after and beside what.

    It also explains what does not run in this version yet. Exit code 0: explained; 1: the workflow has errors, which
    are printed; 2: wrong use.
    """
    diagnostics, explanation = explain_workflow(read_source(file), fusion=fusion)
    if output_format == "json":
        problems = [diagnostic.as_json() for diagnostic in diagnostics]
        print_json({"explanation": explanation and explanation.as_json(), "diagnostics": problems})
    elif explanation is None:
        print_diagnostics(diagnostics)
        click.echo("The workflow is not valid. What the codes mean: docs/diagnostics/<code>.md")
    else:
        # Beside the explanation, so that a picture in a pipe stays a picture.
        print_diagnostics(diagnostics, to_stderr=True)
        click.echo(as_text(explanation) if output_format == "text" else as_mermaid(explanation), nl=False)
    sys.exit(1 if has_errors(diagnostics) else 0)
