"""``agent-factory executions``: lists, live events and comparisons, beside what :mod:`api.cli.remote` has."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
import httpx
import orjson

from api.cli.output import print_json
from api.cli.remote import FINAL, Remote, RemoteError, call, executions_command
from compiler.problems import one_line

PATH = "/api/v1/executions"
PAGE = 200
LOST_SECONDS = 60.0
"""For so long a lost connection is tried again."""

_format = click.option(
    "--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@executions_command.command("list")
@click.option("--workflow", "workflow_id", metavar="ID", help="Only those of this workflow.")
@click.option("--version", type=click.IntRange(min=1), help="Only those of this version of it.")
@click.option("--status", multiple=True, type=click.Choice(["pending", "running", *FINAL]), help="May be repeated.")
@click.option("--trigger", type=click.Choice(["manual", "webhook", "schedule", "event", "workflow"]))
@click.option("--from", "accepted_from", metavar="TIME", help="Accepted then or later; ISO 8601 with a time zone.")
@click.option("--before", "accepted_before", metavar="TIME", help="Accepted earlier.")
@click.option("--min-ms", "min_duration_ms", type=float, help="That took at least so long.")
@click.option("--max-ms", "max_duration_ms", type=float, help="That took at most so long.")
@click.option("--parent", "parent_execution_id", metavar="ID", help="Only those that this execution waits for.")
@click.option("--error", "error_code", metavar="CODE", help="Only those that ended with this error.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many at most.")
@_format
def list_command(output_format: str, limit: int, **filters: Any) -> None:
    """List executions, the newest first."""
    remote = Remote()
    found: list[dict[str, Any]] = []
    query = {name: value for name, value in filters.items() if value not in (None, ())}
    while len(found) < limit:
        page = call(remote, "GET", PATH, params=query | {"limit": min(PAGE, limit - len(found))})
        found += page["executions"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    if output_format == "json":
        print_json({"executions": found})
        return
    for each in found:
        took = "" if each["duration_ms"] is None else f"  {each['duration_ms']:.0f} ms"
        error = f"  {each['error_code']}" if each["error_code"] else ""
        name = f"{each['workflow_id']} version {each['version']}"
        click.echo(f"{each['execution_id']}  {each['accepted_at']}  {name}  {each['status']}{took}{error}")
    if not found:
        click.echo("No executions.", err=True)


@executions_command.command("watch")
@click.argument("execution_id", metavar="ID")
@_format
def watch_command(execution_id: str, output_format: str) -> None:
    """Follow an execution until it has ended; exit 0 only on success."""
    for name, data in follow(Remote(), execution_id):
        if output_format == "json":
            click.echo(orjson.dumps({"event": name, **data}).decode())
        else:
            click.echo(describe_event(name, data))
        if name == "execution" and data["status"] in FINAL:
            sys.exit(0 if data["status"] == "success" else 1)
    raise RemoteError(f"The execution {execution_id} is gone.")


def follow(remote: Remote, execution_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield an execution's events; a lost connection goes on where it was lost.

    :raises RemoteError: The control plane refuses, or does not come back.
    """
    path = f"{PATH}/{quote(execution_id, safe='')}/events"
    last, heard = "", time.monotonic()
    while True:
        headers = {"last-event-id": last} if last else {}
        try:
            with remote.stream(path, headers=headers) as lines:
                for number, name, data in read_events(lines):
                    last, heard = number or last, time.monotonic()
                    yield name, data
                    if name == "execution" and data["status"] in FINAL:
                        return
                heard = time.monotonic()
        except (httpx.TransportError, RemoteError) as error:
            if isinstance(error, RemoteError) and not error.is_passing:
                raise
            if time.monotonic() - heard > LOST_SECONDS:
                raise RemoteError(f"The connection was lost ({type(error).__name__}).") from None
        time.sleep(1.0)


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield id, name and data of each event of ``text/event-stream``."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield fields.get("id", ""), fields.get("event", "message"), orjson.loads(fields["data"])
        fields = {}


def describe_event(name: str, data: dict[str, Any]) -> str:
    """Return an event as a line of text."""
    what = f"  {data['step_id']}" if name == "step" else "execution"
    took = data.get("duration_ms")
    error = data.get("error")
    return (
        f"{what}  {data['status']}"
        + ("" if took is None else f"  {took:.0f} ms")
        + (f"  {error['code']}: {one_line(error['message'])}" if error else "")
    )


@executions_command.command("compare")
@click.argument("execution_id", metavar="ID")
@click.argument("other_id", metavar="OTHER")
@_format
def compare_command(execution_id: str, other_id: str, output_format: str) -> None:
    """Show how two executions differ, step by step."""
    path = f"{PATH}/{quote(execution_id, safe='')}/compare/{quote(other_id, safe='')}"
    compared = call(Remote(), "GET", path)
    if output_format == "json":
        print_json(compared)
    else:
        click.echo("\n".join(describe_comparison(compared)))


def describe_comparison(compared: dict[str, Any]) -> list[str]:
    """Return a comparison as lines of text: both sides, then each step with its differences."""
    lines = [_side(name, compared[name]) for name in ("left", "right")]
    for step in compared["steps"]:
        left, right = step["left"], step["right"]
        if left is None or right is None:
            lines.append(f"  {step['id']}: only in the {'left' if left else 'right'} one")
            continue
        status = left["status"] if left["status"] == right["status"] else f"{left['status']} -> {right['status']}"
        took = f"{_milliseconds(left)} -> {_milliseconds(right)}"
        tokens = [side["input_tokens"] + side["output_tokens"] for side in (left, right)]
        spent = f", tokens {tokens[0]} -> {tokens[1]}" if any(tokens) else ""
        lines.append(f"  {step['id']}: {status}, {took}{spent}{_sameness(step['output'])}")
        lines += [f"    {_difference(each)}" for each in step["output"]["differences"]]
    return lines


def _side(name: str, side: dict[str, Any]) -> str:
    took = _milliseconds(side)
    return f"{name}: {side['workflow_id']} version {side['version']}, {side['execution_id']}: {side['status']}, {took}"


def _milliseconds(side: dict[str, Any]) -> str:
    return "-" if side["duration_ms"] is None else f"{side['duration_ms']:.0f} ms"


def _sameness(output: dict[str, Any]) -> str:
    if output["same"]:
        return ", same output"
    return "" if output["complete"] else ", not all of the output was compared or is listed"


def _difference(difference: dict[str, Any]) -> str:
    place = difference["pointer"] or "(the whole output)"
    left, right = _value(difference, "left"), _value(difference, "right")
    if difference["kind"] == "added":
        return f"{place}: only right: {right}"
    return f"{place}: only left: {left}" if difference["kind"] == "removed" else f"{place}: {left} -> {right}"


def _value(difference: dict[str, Any], side: str) -> str:
    size = difference[f"{side}_bytes"]
    return orjson.dumps(difference[side]).decode() if size is None else f"({size} bytes)"
