"""``agent-factory publish``, ``execute`` and ``workflows``: workflows on a control plane."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import orjson

from agent_factory_client import ApiError
from api.cli.files import read_source
from api.cli.output import print_json
from api.cli.remote import control_plane
from api.cli.run import JsonParam
from compiler.fields import is_identifier


@click.command("publish")
@click.argument("file", type=click.Path(path_type=Path))
def publish_command(file: Path) -> None:
    """Publish the workflow in FILE: the next executions use it."""
    source = read_source(file)
    with control_plane() as factory:
        try:
            published = factory.workflows.publish(source, workflow_id=_workflow_id(source))
        except ApiError as error:
            print_diagnostics_of(error)
            raise
    print_json(published)


def print_diagnostics_of(error: ApiError) -> None:
    """Print the diagnostics of a refused publish and end the command; do nothing for another refusal."""
    if error.status == 422 and "diagnostics" in error.problem:
        print_json({"diagnostics": error.problem["diagnostics"]})
        sys.exit(1)


def _workflow_id(source: bytes) -> str:
    """Return the workflow's id; where there is none to read, any will do: the server says what is wrong."""
    try:
        document = orjson.loads(source)
    except orjson.JSONDecodeError:
        return "unknown"
    identifier = document.get("id") if isinstance(document, dict) else None
    return identifier if isinstance(identifier, str) and is_identifier(identifier) else "unknown"


@click.command("execute")
@click.argument("workflow_id")
@click.option("--input", "input_value", type=JsonParam(), default="{}", help="The execution's input. [default: {}]")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 0 only on success.")
def execute_command(workflow_id: str, input_value: Any, wait: bool) -> None:
    """Start the published workflow WORKFLOW_ID."""
    with control_plane() as factory:
        accepted = factory.workflows.execute(workflow_id, input_value)
        if not wait:
            print_json(accepted)
            return
        execution = factory.executions.wait(accepted["execution_id"])
    print_json(execution)
    sys.exit(0 if execution["status"] == "success" else 1)


@click.group("workflows")
def workflows_command() -> None:
    """Check, pause and resume workflows on the control plane."""


@workflows_command.command("validate")
@click.argument("file", type=click.Path(path_type=Path))
def validate_command(file: Path) -> None:
    """Have the control plane check the workflow in FILE, with what else the organisation has; keep nothing."""
    source = read_source(file)
    with control_plane() as factory:
        validation = factory.workflows.validate(source)
    print_json(validation)
    sys.exit(0 if validation["valid"] else 1)


@workflows_command.command("pause")
@click.argument("workflow_id")
def pause_command(workflow_id: str) -> None:
    """Keep what starts WORKFLOW_ID, and give Airflow nothing of it until `workflows resume`."""
    with control_plane() as factory:
        print_json(factory.workflows.pause(workflow_id))


@workflows_command.command("resume")
@click.argument("workflow_id")
def resume_command(workflow_id: str) -> None:
    """Have WORKFLOW_ID go on with what was kept."""
    with control_plane() as factory:
        print_json(factory.workflows.resume(workflow_id))
