"""The client: one control plane, one caller, and a part for each noun of the API."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import httpx

from agent_factory_client.agents import Agents
from agent_factory_client.approvals import Approvals
from agent_factory_client.audit import AuditLog
from agent_factory_client.executions import Executions
from agent_factory_client.identity import ApiKeys, Auth, Invitations, Members, Organizations, Teams
from agent_factory_client.messages import Deliveries, Subscriptions
from agent_factory_client.relay import DeadLetters, Relay
from agent_factory_client.reviews import Reviews
from agent_factory_client.templates import Templates
from agent_factory_client.transfers import Transfers
from agent_factory_client.transport import Token, Transport
from agent_factory_client.variables import Variables
from agent_factory_client.workflows import Workflows


class AgentFactory:
    """Talks with one control plane. Every method raises :class:`ApiError`, :class:`ConnectionFailed` or
    :class:`NotAControlPlane`; :attr:`ApiError.is_passing` tells what is worth another try.

    :param url: Where the control plane is, like ``https://factory.example``.
    :param token: An API key or an access token; or a function that returns one that is still valid.
    :param timeout: Seconds for an answer, beyond the time that a request itself asks to wait.
    :param transport: Another way for httpx to send requests, such as one with a proxy.
    """

    def __init__(
        self, url: str, token: Token = None, *, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._transport = Transport(url, token, timeout=timeout, transport=transport)
        self.agents = Agents(self._transport)
        self.workflows = Workflows(self._transport)
        self.executions = Executions(self._transport)
        self.approvals = Approvals(self._transport)
        self.variables = Variables(self._transport)
        self.dead_letters = DeadLetters(self._transport)
        self.relay = Relay(self._transport)
        self.reviews = Reviews(self._transport)
        self.templates = Templates(self._transport)
        self.transfers = Transfers(self._transport)
        self.subscriptions = Subscriptions(self._transport)
        self.deliveries = Deliveries(self._transport)
        self.audit_log = AuditLog(self._transport)
        self.auth = Auth(self._transport)
        self.api_keys = ApiKeys(self._transport)
        self.organizations = Organizations(self._transport)
        self.members = Members(self._transport)
        self.invitations = Invitations(self._transport)
        self.teams = Teams(self._transport)

    @property
    def url(self) -> str:
        """Where the control plane is."""
        return self._transport.url

    def request(self, method: str, path: str, *, query: Any = None, body: Any = None) -> dict[str, Any]:
        """Make any request of the API, such as one that is newer than this client, and return its JSON object."""
        return self._transport.json(dict[str, Any], method, path, query=query, body=body)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> AgentFactory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
