"""``agent-factory demo``: the Customer Support Agent through the real webhook and Airflow, once for each branch."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import click
import httpx

from api.cli.platform import fail, progress_printer
from api.platform import client
from api.platform.airflow import MODEL_KEYS
from api.platform.errors import PlatformError
from api.platform.home import Home, HomeLock

WORKFLOW = "workflow_123"
"""The seed's own id of its Customer Support Agent."""
MESSAGES = {
    "billing": "I was charged twice this month. Please check my billing.",
    "technical": "I have a technical problem: the app closes when I open a report.",
    "general": "Hello! Which languages does your support team speak?",
}
ANSWER_SECONDS = 60.0


@click.command("demo")
def demo_command() -> None:
    """Start the platform, publish the Customer Support Agent, send it three messages, show the runs, stop."""
    show = progress_printer()
    platform: client.RunningPlatform | None = None
    try:
        with client.stop_on_termination():
            home = Home.from_environment()
            if HomeLock(home).holder() is None:
                show("starting PostgreSQL, Airflow and the control plane")
                platform = client.start(home, detach=False, restart=False)
                platform.wait_ready(show)
            else:
                show(f"using the platform that already runs from {home.path}")
            _show_runs(home, platform, show)
    except PlatformError as error:
        _stop(platform, show)
        fail(str(error))
    except KeyboardInterrupt:
        _stop(platform, show)
        sys.exit(130)
    _stop(platform, show)
    show("done")


def _stop(platform: client.RunningPlatform | None, show: Callable[[str], None]) -> None:
    if platform is not None:
        show("stopping everything that was started")
        platform.stop()


def _show_runs(home: Home, platform: client.RunningPlatform | None, show: Callable[[str], None]) -> None:
    state = home.read_state()
    if not any(os.environ.get(name) for name in MODEL_KEYS):
        show(f"no {' or '.join(MODEL_KEYS)}: the built-in test model answers, always the same way")
    source = files("dags").joinpath("examples", "customer_support.json").read_bytes()
    headers = {"Authorization": f"Bearer {state['api_token']}"}
    with httpx.Client(base_url=state["api_url"], headers=headers, timeout=90, trust_env=False) as http:
        published = _call(http, platform, "POST", f"/api/v1/workflows/{WORKFLOW}/publish", content=source)
        show(f"published {WORKFLOW!r} as version {published['version']}, Airflow DAG {published['dag_id']!r}")
        url = published["webhooks"][0]
        click.echo()
        for branch, message in MESSAGES.items():
            _send(http, platform, url, branch, message)
    click.echo(
        f"Airflow UI while the platform runs (agent-factory up): {state['airflow_url']}  "
        f"user {state['airflow_username']}, password {state['airflow_password']}\n"
    )


def _send(http: httpx.Client, platform: client.RunningPlatform | None, url: str, branch: str, message: str) -> None:
    """Send one message to the webhook, wait for its end, print it.

    :raises PlatformError: The run did not end well, or took another branch than the message asks for.
    """
    click.echo(f"== {branch}: {message!r}")
    accepted = _call(http, platform, "POST", url, json={"message": message})
    execution = _wait(http, platform, accepted["execution_id"])
    _print_execution(execution)
    if execution["status"] != "success":
        raise PlatformError(
            f"The {branch} message must end in success; got {execution['status']}: {execution['error']}"
        )
    if not os.environ.get("OPENAI_API_KEY"):
        taken = _branch_taken(execution)
        if taken != f"{branch}_handler":
            raise PlatformError(f"The {branch} message must take the branch {branch}_handler; it took {taken}.")


def _wait(http: httpx.Client, platform: client.RunningPlatform | None, execution_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + ANSWER_SECONDS
    while time.monotonic() < deadline:
        execution = _call(http, platform, "GET", f"/api/v1/executions/{execution_id}?wait=10s")
        if execution["status"] not in ("pending", "running"):
            return execution
    raise PlatformError(f"Execution {execution_id} did not end within {ANSWER_SECONDS:.0f} s.")


def _print_execution(execution: dict[str, Any]) -> None:
    click.echo(f"   status   {execution['status']}, {execution['duration_ms']:.0f} ms in all")
    click.echo(f"   branch   {_branch_taken(execution)}")
    for step in execution["steps"]:
        duration = f"{step['duration_ms']:7.1f} ms" if step["duration_ms"] is not None else "          "
        click.echo(f"   step     {duration}  {step['status']:<8} {step['id']}")
    click.echo(f"   output   {execution['output']}")
    click.echo(f"   Airflow  {execution['airflow_url']}\n")


def _branch_taken(execution: dict[str, Any]) -> str | None:
    outputs = (step["output"] for step in execution["steps"] if step["type"] == "conditional")
    return next((output["branch"] for output in outputs if output), None)


def _call(
    http: httpx.Client, platform: client.RunningPlatform | None, method: str, url: str, **arguments: Any
) -> dict[str, Any]:
    """Call the control plane and return its JSON.

    :raises PlatformError: It answered an error, or a part of the platform died meanwhile.
    """
    try:
        response = http.request(method, url, **arguments)
    except httpx.HTTPError as error:
        died = platform.failure() if platform else None
        raise PlatformError(died or f"The control plane did not answer {method} {url}: {error}.") from error
    body = response.json()
    if response.is_error or not isinstance(body, dict):
        raise PlatformError(f"{method} {url} answered {response.status_code}: {response.text[:500]}")
    return body
