"""The ``agent-factory`` command: one file a subcommand, imported only when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

COMMANDS = {
    "validate": "api.cli.validate",
    "compile": "api.cli.compile",
    "explain": "api.cli.explain",
    "new": "api.cli.new",
    "run": "api.cli.run",
    "agents": "api.cli.agents",
    "templates": "api.cli.templates",
    "reviews": "api.cli.reviews",
    "export": "api.cli.transfers",
    "import": "api.cli.transfers",
    "workflows": "api.cli.workflows",
    "publish": "api.cli.workflows",
    "execute": "api.cli.workflows",
    "executions": "api.cli.executions",
    "approvals": "api.cli.approvals",
    "variables": "api.cli.variables",
    "dead-letters": "api.cli.dead_letters",
    "login": "api.cli.login",
    "logout": "api.cli.login",
    "whoami": "api.cli.login",
    "api-keys": "api.cli.api_keys",
    "operator": "api.cli.operator",
    "up": "api.cli.platform",
    "down": "api.cli.platform",
    "status": "api.cli.platform",
    "demo": "api.cli.demo",
}
"""Subcommand -> module; the module has a click command named ``<subcommand>_command``, with ``_`` for ``-``."""


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is asked for, so that ``--help`` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a subcommand, or None for an unknown name."""
        module_name = COMMANDS.get(cmd_name)
        if module_name is None:
            return None
        module = importlib.import_module(module_name)
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; what the control plane refuses is one sentence and exit code 1."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            from api.cli.remote import as_click_error

            said = as_click_error(error)
            if said is None:
                raise
            raise said from None


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="agent-factory")
def main() -> None:
    """Describe AI agents as workflow JSON, compile them to Airflow DAGs, run them."""
