"""Sends requests and reads answers: the one place that knows HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from agent_factory_client.errors import ApiError, ConnectionFailed, NotAControlPlane
from agent_factory_client.events import Event, read_events

Answer = TypeVar("Answer")
Token = str | Callable[[], str] | None
"""A bearer token, or what gives one that is still valid, or None for what needs none."""

ROOT = "/api/v1"


def path(template: str, *names: str | int) -> str:
    """Return a path of the API; each ``{}`` stands for a name, which may hold any character."""
    return ROOT + template.format(*(quote(str(name), safe="") for name in names))


class Transport:
    """A connection to one control plane as one caller.

    :param url: Where it is, like ``https://factory.example``.
    :param timeout: Seconds for an answer, beyond the time that a request itself asks to wait.
    """

    def __init__(
        self, url: str, token: Token, *, timeout: float = 60.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._http = httpx.Client(timeout=httpx.Timeout(timeout, connect=5.0), transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(
        self,
        returns: type[Answer],
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Answer:
        """Make a request and return the JSON object of its answer.

        :param returns: What the API says that it is.
        :param query: Parameters; those that are None are left out.
        :param body: JSON, or bytes that are JSON.
        :raises ApiError: The control plane refuses.
        :raises ConnectionFailed: It does not answer.
        :raises NotAControlPlane: Something else answers.
        """
        answer: Answer = _object(self.send(method, path, query=query, body=body, headers=headers))
        return answer

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> httpx.Response:
        """Make a request and return its answer, which is no refusal; raises as :meth:`json` does."""
        request = self._request(method, path, query, body, headers)
        try:
            response = self._http.send(request)
        except httpx.TransportError as error:
            raise self._lost(error) from error
        _refuse(response)
        return response

    @contextmanager
    def events(
        self, method: str, path: str, *, body: Any = None, headers: Mapping[str, str | None] | None = None
    ) -> Iterator[Iterator[Event]]:
        """Give the events of an answer as they come; raises as :meth:`json` does, also while they come."""
        request = self._request(method, path, None, body, headers)
        try:
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success:
                    response.read()
                    _refuse(response)
                yield read_events(response.iter_lines())
            finally:
                response.close()
        except httpx.TransportError as error:
            raise self._lost(error) from error

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Any,
        headers: Mapping[str, str | None] | None,
    ) -> httpx.Request:
        sent = {name: value for name, value in (headers or {}).items() if value is not None}
        token = self._token() if callable(self._token) else self._token
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        chosen = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            return self._http.build_request(method, self.url + path, params=chosen, content=content, headers=sent)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> ConnectionFailed:
        return ConnectionFailed(f"No control plane answers at {self.url} ({type(error).__name__}).")


def _object(response: httpx.Response) -> Any:
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise NotAControlPlane(f"{response.url} answered HTTP {response.status_code}, but not as a control plane does.")
    return body


def _refuse(response: httpx.Response) -> None:
    if response.is_success:
        return
    wait = response.headers.get("retry-after", "")
    raise ApiError(response.status_code, _object(response), float(wait) if wait.isdigit() else None)
