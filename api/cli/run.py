"""``agent-factory run``: run a workflow in this process, without Airflow and without a database."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import click
import orjson

from api.cli.files import read_source
from api.cli.output import print_json
from api.cli.terminal import terminal_approver
from compiler import compile_workflow
from compiler.plan import Plan, every_step
from operators.execution.bodies import task_id
from operators.execution.local import LocalResult, run_plan
from operators.execution.records import step_view
from operators.execution.stubs import Stubs

ORGANIZATION = "local"
INTERRUPTED = 130


class JsonParam(click.ParamType[Any]):
    """JSON on the command line, or ``@FILE`` to read it from a file.

    :param must_be_object: Whether anything but an object is wrong use.
    """

    name = "JSON|@FILE"

    def __init__(self, *, must_be_object: bool = False) -> None:
        self._must_be_object = must_be_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the parsed JSON; exit code 2 where it is none."""
        if not isinstance(value, str):
            return value
        source = (
            self._read(value[1:], param, ctx) if value.startswith("@") else value.encode("utf-8", "surrogateescape")
        )
        try:
            parsed = orjson.loads(source)
        except orjson.JSONDecodeError as error:
            self.fail(f"must be JSON; got {_shown(source)}: {error}", param, ctx)
        if self._must_be_object and not isinstance(parsed, dict):
            self.fail(f"must be a JSON object; got {_shown(source)}", param, ctx)
        return parsed

    def _read(self, path: str, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        try:
            return Path(path).read_bytes()
        except (OSError, ValueError) as error:
            self.fail(f"must name a readable file after @; '{path}' is not: {error}", param, ctx)


class JsonFileParam(JsonParam):
    """A path of a file with a JSON object."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the file's object; exit code 2 where it has none."""
        return super().convert(f"@{value}" if isinstance(value, str) else value, param, ctx)


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "input_value", type=JsonParam(), default="{}", help="The workflow's input. [default: {}]")
@click.option("--vars", "variables", type=JsonParam(must_be_object=True), default="{}", help="Values of `vars`.")
@click.option(
    "--stubs",
    type=JsonFileParam(must_be_object=True),
    help="Object from task id to an output, or to a list with an item an attempt ({'error': 'text'} fails it).",
)
@click.option(
    "--workflows",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Folder of the workflows that `workflow` steps may call. [default: that of FILE]",
)
@click.option("--fusion", type=click.Choice(["auto", "off"]), help="Overrules the workflow's settings.fusion.")
def run_command(
    file: Path,
    input_value: Any,
    variables: dict[str, Any],
    stubs: dict[str, Any] | None,
    workflows: Path | None,
    fusion: Literal["auto", "off"] | None,
) -> None:
    """Run the workflow in FILE in this process and print its result as one JSON object.

    Model calls use OPENAI_API_KEY or ANTHROPIC_API_KEY (and .._BASE_URL); without a key the built-in test model
    answers. An approval without a stub is asked on the terminal. Exit code 0: success; 1: anything else, an invalid
    workflow included; 2: wrong use.
    """
    compilation = compile_workflow(read_source(file), organization=ORGANIZATION, fusion=fusion)
    if compilation.plan is None:
        print_json({"diagnostics": [diagnostic.as_json() for diagnostic in compilation.diagnostics]})
        sys.exit(1)
    for diagnostic in compilation.diagnostics:
        click.echo(f"warning: {diagnostic.code} at {diagnostic.path}: {diagnostic.message}", err=True)
    _warn_of_unused(compilation.plan, stubs or {}, variables)
    try:
        result = asyncio.run(
            run_plan(
                compilation.plan,
                input=input_value,
                vars=variables,
                stubs=Stubs(stubs),
                approver=terminal_approver(),
                find_workflow=_Neighbours(workflows or file.parent).find,
            )
        )
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(INTERRUPTED)
    _print(result)
    sys.exit(0 if result.status == "success" else 1)


class _Neighbours:
    """The workflows that ``workflow`` steps may call: the JSON files of a folder, by their ids.

    :param folder: It is read when the first step calls.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, bytes] | None = None

    def find(self, workflow_id: str) -> Plan | None:
        """Return the plan of a workflow.

        :raises ValueError: It has errors.
        """
        if self._files is None:
            self._files = dict(self._read())
        source = self._files.get(workflow_id)
        if source is None:
            return None
        compilation = compile_workflow(source, organization=ORGANIZATION)
        if compilation.plan is None:
            first = next(item for item in compilation.diagnostics if item.severity == "error")
            raise ValueError(f"workflow {workflow_id!r} has errors; the first, at {first.path!r}: {first.message}")
        return compilation.plan

    def _read(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self._folder.glob("*.json"), reverse=True):
            try:
                source = path.read_bytes()
                document = orjson.loads(source)
            except (OSError, orjson.JSONDecodeError):
                continue  # Not every JSON file is a workflow.
            if isinstance(document, dict) and isinstance(document.get("id"), str) and "tasks" in document:
                yield document["id"], source


def _warn_of_unused(plan: Plan, stubs: dict[str, Any], variables: dict[str, Any]) -> None:
    """Say which stubs and variables nothing uses: most often a slip of the pen."""
    known = {step.id for step in every_step(plan.steps)}
    for name in sorted(name for name in stubs if task_id(name) not in known):
        click.echo(f"warning: --stubs names {name!r}, which is no task of this workflow", err=True)
    for name in sorted(set(variables) - set(plan.vars)):
        click.echo(f"warning: --vars gives {name!r}, which `vars` of this workflow does not name", err=True)


def _print(result: LocalResult) -> None:
    """Print the result on stdout; on stderr why the run failed, and whether the test model stood in."""
    steps = {step_id: step_view(record) for step_id, record in result.steps.items()}
    shown: dict[str, Any] = {"status": result.status, "output": result.output, "steps": steps}
    if result.error is not None:
        click.echo(f"{result.error.code}: {result.error.message}", err=True)
        if not any(record.status == "failed" for record in result.steps.values()):
            # No step says it: the input, the output or the workflow's time-out was at fault.
            shown["error"] = result.error.model_dump()
    if any(usage.provider == "test" for record in result.steps.values() for usage in record.usage):
        click.echo("No key of the model's provider is set: the built-in test model answered.", err=True)
    try:
        print_json(shown)
    except TypeError:
        # Half a surrogate pair or a number beyond 64 bits; both can be escaped or written by the slower encoder.
        click.echo(json.dumps(shown, indent=2, ensure_ascii=True))


def _shown(source: bytes) -> str:
    text = source.decode("utf-8", "replace")
    return repr(text if len(text) <= 60 else text[:57] + "...")
