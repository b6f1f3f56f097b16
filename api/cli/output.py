"""What the commands print: one JSON object for scripts, lines for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Literal

import click
import orjson

from compiler.diagnostics import Diagnostic
from compiler.problems import one_line

Format = Literal["json", "text"]

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["json", "text"]),
    help="What to print. [default: text on a terminal, else json]",
)


def chosen_format(output_format: Format | None) -> Format:
    """Return the format to print: the one asked for, else lines on a terminal and JSON in a pipe."""
    return output_format or ("text" if sys.stdout.isatty() else "json")


def print_json(value: Any) -> None:
    """Print one JSON object."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_diagnostics(diagnostics: Iterable[Diagnostic], *, to_stderr: bool = False) -> None:
    """Print one line a diagnostic: severity, code, path, message."""
    for diagnostic in diagnostics:
        place = diagnostic.path or "(the whole file)"
        click.echo(
            f"{diagnostic.severity}: {diagnostic.code} at {place}: {one_line(diagnostic.message)}", err=to_stderr
        )
