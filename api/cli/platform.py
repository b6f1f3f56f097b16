"""``agent-factory up | down | status``: the embedded platform."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click

from api.platform import client, disk
from api.platform.errors import PlatformError
from api.platform.home import OWNER_EMAIL, Home, HomeLock


def progress_printer() -> Callable[[str], None]:
    """Return a function that prints a line with the seconds since now before it."""
    began = time.monotonic()

    def show(text: str) -> None:
        click.echo(f"[{time.monotonic() - began:5.1f} s] {text}")

    return show


def fail(message: str) -> None:
    """Print one sentence on stderr and exit with 1."""
    click.echo(f"Error: {message}", err=True)
    sys.exit(1)


@click.command("up")
@click.option("--detach", is_flag=True, help="Return when the platform is ready; `down` stops it.")
def up_command(detach: bool) -> None:
    """Start the embedded platform and keep it running."""
    platform = None
    try:
        with client.stop_on_termination():
            home = Home.from_environment()
            platform = client.start(home, detach=detach, restart=True)
            platform.wait_ready(progress_printer())
            _introduce(home)
            if detach:
                return
            click.echo("Ctrl-C stops it.")
            code = platform.wait(click.echo)
            sys.exit(code)
    except PlatformError as error:
        fail(str(error))
    except KeyboardInterrupt:
        click.echo("stopping", err=True)
        if platform is not None:
            platform.stop()
        sys.exit(130)


@click.command("down")
def down_command() -> None:
    """Stop the embedded platform."""
    try:
        home = Home.from_environment()
        click.echo("stopped" if client.stop(home) else "nothing runs")
    except PlatformError as error:
        fail(str(error))


@click.command("status")
def status_command() -> None:
    """Tell whether the embedded platform runs, and where; exit 0 if it is ready, 1 if not."""
    try:
        home = Home.from_environment()
    except PlatformError as error:
        fail(str(error))
    state = home.read_state()
    status = state.get("status", "stopped") if HomeLock(home).holder() is not None else "stopped"
    click.echo(f"{status} ({home.path})")
    if status == "stopped":
        sys.exit(1)
    for key, child in state.get("children", {}).items():
        restarts = f", restarted {child['restarts']} times" if child["restarts"] else ""
        click.echo(f"  {key}: process {child['pid']}{restarts}")
    if trouble := disk.trouble(home.path):
        click.echo(f"  Note: {trouble}")
    _introduce(home)
    sys.exit(0 if status == "ready" else 1)


def _introduce(home: Home) -> None:
    state = home.read_state()
    click.echo(f"Control plane: {state['api_url']}  (operator's token in {home.path / 'credentials.json'})")
    click.echo(f"First owner:   {OWNER_EMAIL}  (first password: owner_password in the same file)")
    click.echo(
        f"Airflow UI:    {state['airflow_url']}  "
        f"(user {state['airflow_username']}, password {state['airflow_password']})"
    )
