"""``agent-factory reviews``: ask for reviews, look at them, decide them."""

from __future__ import annotations

from typing import Literal

import click

from agent_factory_client.schemas import ReviewDetail, ReviewView
from api.cli.finding import find_agent
from api.cli.output import print_json
from api.cli.remote import control_plane
from compiler.problems import one_line

_format = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)
_fingerprint = click.option(
    "--fingerprint", help="Decide only if the review is of exactly this. [default: whatever it is of]"
)


@click.group("reviews")
def reviews_command() -> None:
    """Review before publish: ask for reviews, look at them, decide them."""


@reviews_command.command("list")
@click.option("--agent", help="Only those of an agent: its id, or the id of its workflow.")
@click.option("--all", "everything", is_flag=True, help="Also those that are decided.")
@_format
def list_command(agent: str | None, everything: bool, output_format: str) -> None:
    """List the reviews that wait for a decision, the newest first."""
    with control_plane() as factory:
        agent_id = None if agent is None else find_agent(factory, agent)["id"]
        reviews = [*factory.reviews.each(agent_id=agent_id, status=None if everything else "open")]
    if output_format == "json":
        print_json({"reviews": reviews})
        return
    for review in reviews:
        click.echo(f"{review['id']}  {review['status']}  {review['workflow_id']}  {_what(review)}")
    if not reviews:
        click.echo("No reviews." if everything else "No review waits for a decision.", err=True)


@reviews_command.command("show")
@click.argument("review_id", metavar="ID")
@_format
def show_command(review_id: str, output_format: str) -> None:
    """Show a review; as JSON with the workflow that is to be published."""
    with control_plane() as factory:
        review = factory.reviews.show(review_id)
    if output_format == "json":
        print_json(review)
    else:
        click.echo("\n".join(_describe(review)))


@reviews_command.command("request")
@click.argument("agent")
@click.option("--version", type=int, help="An older version that is to be published again. [default: the draft]")
@click.option("--note", help="For who reviews.")
def request_command(agent: str, version: int | None, note: str | None) -> None:
    """Ask for a review of AGENT's draft as it is now."""
    with control_plane() as factory:
        print_json(factory.reviews.request(find_agent(factory, agent)["id"], version=version, note=note))


@reviews_command.command("approve")
@click.argument("review_id", metavar="ID")
@click.option("--comment", help="Stays with the decision.")
@_fingerprint
def approve_command(review_id: str, comment: str | None, fingerprint: str | None) -> None:
    """Approve: exactly this may be published. Nobody approves what they wrote or asked for."""
    _decide(review_id, "approve", comment, fingerprint)


@reviews_command.command("reject")
@click.argument("review_id", metavar="ID")
@click.option("--comment", help="Stays with the decision.")
@_fingerprint
def reject_command(review_id: str, comment: str | None, fingerprint: str | None) -> None:
    """Reject."""
    _decide(review_id, "reject", comment, fingerprint)


@reviews_command.command("policy")
@click.option("--required/--not-required", default=None, help="Set it. [default: show it]")
def policy_command(required: bool | None) -> None:
    """Say whether the organisation publishes only what was approved."""
    with control_plane() as factory:
        print_json(factory.reviews.policy() if required is None else factory.reviews.set_policy(required))


def _decide(
    review_id: str, decision: Literal["approve", "reject"], comment: str | None, fingerprint: str | None
) -> None:
    with control_plane() as factory:
        # What a review is of never changes: its id is enough to name it.
        fingerprint = fingerprint or factory.reviews.show(review_id)["fingerprint"]
        print_json(factory.reviews.decide(review_id, decision, fingerprint, comment=comment))


def _what(review: ReviewView | ReviewDetail) -> str:
    return "draft" if review["version"] is None else f"version {review['version']}"


def _describe(review: ReviewDetail) -> list[str]:
    """Return a review as lines of text."""
    stale = ", stale: something changed since" if review["stale"] else ""
    lines = [
        f"{review['workflow_id']}, {_what(review)}: {review['status']}{stale}",
        f"  review {review['id']} of agent {review['agent_id']}",
        f"  fingerprint {review['fingerprint']}",
        f"  asked for by {one_line(review['requested_by'])} at {review['requested_at']}",
        f"  written by {', '.join(map(one_line, review['authors'])) or '-'}",
    ]
    if review["note"]:
        lines += [f"  | {one_line(line)}" for line in review["note"].splitlines()]
    for call in review["covers"]["calls"]:
        version = "no version" if call["number"] is None else f"version {call['number']}"
        lines.append(f"  calls {call['workflow_id']}, {version}")
    for variable in review["covers"]["variables"]:
        lines.append(f"  reads {variable['name']} of {variable['environment']}")
    if review["decided_by"]:
        comment = f": {one_line(review['comment'])}" if review["comment"] else ""
        lines.append(f"  decided by {one_line(review['decided_by'])} at {review['decided_at']}{comment}")
    return lines
