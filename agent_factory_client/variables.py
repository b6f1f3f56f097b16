"""Variables that workflows read as ``vars``."""

from __future__ import annotations

from typing import Any

from agent_factory_client.schemas import VariableList, VariableView
from agent_factory_client.transport import Transport, path


class Variables:
    """Variables of the caller's organisation. Values of secret ones are never shown."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, environment: str | None = None) -> VariableList:
        """Return the variables, of one environment or of all."""
        return self._transport.json(VariableList, "GET", path("/variables"), query={"environment": environment})

    def show(self, name: str, *, environment: str | None = None) -> VariableView:
        """Return a variable."""
        query = {"environment": environment}
        return self._transport.json(VariableView, "GET", path("/variables/{}", name), query=query)

    def set(self, name: str, value: Any, *, secret: bool = False, environment: str | None = None) -> VariableView:
        """Set a variable; the value of a secret one is a text."""
        body = {"value": value, "secret": secret}
        query = {"environment": environment}
        return self._transport.json(VariableView, "PUT", path("/variables/{}", name), query=query, body=body)

    def remove(self, name: str, *, environment: str | None = None) -> None:
        """Remove a variable."""
        self._transport.send("DELETE", path("/variables/{}", name), query={"environment": environment})
