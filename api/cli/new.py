"""``agent-factory new``: a workflow file to begin with."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click

from api.cli.files import write_new
from api.cli.output import print_diagnostics
from compiler import validate_workflow
from compiler.fields import is_identifier


@dataclass(frozen=True, slots=True)
class Template:
    """A template.

    :param about: What it does, in one line.
    :param example: An input to try it with.
    """

    about: str
    example: dict[str, Any]


TEMPLATES: dict[str, Template] = {
    "support_triage": Template(
        "sorts messages of customers, drafts answers, answers the caller",
        {"message": "I was charged twice. Check my billing."},
    ),
    "document_extraction": Template(
        "reads data out of a text and checks it", {"text": "Acme Ltd, invoice 7: paper 10.00, ink 5.50, total 15.50"}
    ),
    "refund_approval": Template(
        "grants small refunds, asks a person for larger ones",
        {"order": "A-1001", "amount": 12.5, "reason": "It came broken."},
    ),
    "daily_report": Template(
        "adds up numbers on a schedule and puts them into words",
        {"shops": [{"name": "North", "orders": 12, "sales": 480.5}]},
    ),
    "webhook_to_ticket": Template(
        "makes a ticket of what another system reports", {"service": "checkout", "message": "Error rate at 7 %"}
    ),
}
"""Name of a template -> what is said of it; its workflow is ``templates/<name>.json``."""


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
    source = scaffold(name, template)
    written = write_new(path or Path(f"{name}.json"), source, force=force)
    # What does not run in this version yet is said now, and not only when it is published.
    print_diagnostics(validate_workflow(source), to_stderr=True)
    file, example = shlex.quote(written), shlex.quote(json.dumps(TEMPLATES[template].example))
    click.echo(f"Wrote {written}. Try it:")
    click.echo(f"  agent-factory explain {file}\n  agent-factory run {file} --input {example}")


def scaffold(name: str, template: str) -> bytes:
    """Return the file of a new workflow: the template with the name as id, as readable name and in webhook paths.

    :param name: A checked identifier.
    """
    text = (resources.files("api.cli") / "templates" / f"{template}.json").read_text(encoding="utf-8")
    workflow = json.loads(text)
    workflow["id"] = name
    workflow["name"] = name.replace("_", " ").capitalize()
    for trigger in [workflow["trigger"]] if "trigger" in workflow else workflow["triggers"]:
        if trigger["type"] == "webhook":
            # Two workflows of an organisation cannot have the same path.
            trigger["config"]["path"] = name.replace("_", "-")
    return (json.dumps(workflow, indent=2, ensure_ascii=False) + "\n").encode()
