"""``agent-factory approvals``: look at approvals and decide them."""

from __future__ import annotations

import getpass
from typing import Literal

import click

from agent_factory_client.schemas import ApprovalView
from api.cli.output import print_json
from api.cli.remote import control_plane
from compiler.problems import one_line

_format = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group("approvals")
def approvals_command() -> None:
    """Look at approvals and decide them."""


@approvals_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that nobody waits for any more.")
@_format
def list_command(everything: bool, output_format: str) -> None:
    """List the approvals that wait for a decision, the newest first."""
    with control_plane() as factory:
        approvals = [*factory.approvals.each(status=None if everything else "pending")]
    if output_format == "json":
        print_json({"approvals": approvals})
        return
    for approval in approvals:
        place = f"{approval['workflow_id']}/{approval['step_id']}"
        click.echo(f"{approval['id']}  {_standing(approval)}  {place}  {one_line(approval['title'])}")
    if not approvals:
        click.echo("No approvals." if everything else "No approval waits for a decision.", err=True)


@approvals_command.command("show")
@click.argument("approval_id", metavar="ID")
@_format
def show_command(approval_id: str, output_format: str) -> None:
    """Show an approval."""
    with control_plane() as factory:
        approval = factory.approvals.show(approval_id)
    if output_format == "json":
        print_json(approval)
    else:
        click.echo("\n".join(describe_approval(approval)))


@approvals_command.command("approve")
@click.argument("approval_id", metavar="ID")
@click.option("--comment", help="Goes on with the decision.")
@click.option("--by", help="Who decides. [default: who is logged in, else this machine's user]")
def approve_command(approval_id: str, comment: str | None, by: str | None) -> None:
    """Approve."""
    _decide(approval_id, "approve", comment, by)


@approvals_command.command("reject")
@click.argument("approval_id", metavar="ID")
@click.option("--comment", help="Goes on with the decision.")
@click.option("--by", help="Who decides. [default: who is logged in, else this machine's user]")
def reject_command(approval_id: str, comment: str | None, by: str | None) -> None:
    """Reject."""
    _decide(approval_id, "reject", comment, by)


def _decide(approval_id: str, decision: Literal["approve", "reject"], comment: str | None, by: str | None) -> None:
    with control_plane() as factory:
        me = factory.auth.me()
        # Only the operator's token names others; who else decides, the control plane knows.
        by = by or me["email"] or (_user() if me["via"] == "operator" else None)
        approval = factory.approvals.decide(approval_id, decision, comment=comment, by=by, via="cli")
    click.echo("\n".join(describe_approval(approval)))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "cli"


def describe_approval(approval: ApprovalView) -> list[str]:
    """Return an approval as lines of text."""
    lines = [
        f"{one_line(approval['title'])}: {_standing(approval)}",
        f"  approval {approval['id']} of step {approval['step_id']}, workflow {approval['workflow_id']}, "
        f"execution {approval['execution_id']}",
    ]
    if approval["body"]:
        lines += [f"  | {one_line(line)}" for line in approval["body"].splitlines()]
    if approval["assignees"]:
        lines.append(f"  assignees: {', '.join(map(one_line, approval['assignees']))}")
    if approval["due_at"]:
        lines.append(f"  due at {approval['due_at']}, then {approval['on_timeout']}")
    if approval["decision"]:
        comment = f": {one_line(approval['comment'])}" if approval["comment"] else ""
        lines.append(f"  by {one_line(approval['by'] or '-')} at {approval['decided_at']} ({approval['via']}){comment}")
    return lines


def _standing(approval: ApprovalView) -> str:
    words = {"approve": "approved", "reject": "rejected", "fail": "timed out"}
    return words[approval["decision"]] if approval["decision"] else str(approval["status"])
