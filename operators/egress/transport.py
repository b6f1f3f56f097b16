"""An HTTP transport that connects only where the guard lets it.

The guard sits below HTTP and TLS, where sockets are made: no way of writing a URL goes around it. TLS still asks for
the name of the URL and checks the certificate against it; only the connection goes to the checked address.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable
from types import TracebackType

import httpcore
import httpx

from operators.egress.errors import EgressError
from operators.egress.guard import Guard
from operators.tls import public_context

MAX_CONNECTIONS = 100
KEEPALIVE_SECONDS = 2.0
"""Short: a server that closes an idle connection just as it is used again fails the request."""


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Makes TCP connections to addresses that the guard has checked.

    :param network: What makes the connections; replaced in tests.
    """

    def __init__(self, guard: Guard, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._guard = guard
        self._network = network or httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  # the interface is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first checked address that answers.

        :raises EgressError: The guard refuses.
        """
        addresses = await self._guard.addresses(host, port)
        for address in addresses[:-1]:
            try:
                # A short try each, so that one address without an answer does not use up the time of the others.
                return await self._network.connect_tcp(
                    str(address), port, timeout and timeout / len(addresses), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse.

        :raises EgressError: Always.
        """
        raise EgressError("blocked_address", "a request must not go to a Unix socket")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._network.sleep(seconds)


class GuardedTransport(httpx.AsyncBaseTransport):
    """The transport for ``httpx``: pooled HTTP/1.1 connections, no proxy, no redirects of its own.

    Errors of the network are those of ``httpcore``; refusals are :class:`EgressError`.

    :param verify: Which certificate authorities count; those of ``certifi`` or ``SSL_CERT_FILE`` by default.
    """

    def __init__(
        self, guard: Guard, *, verify: ssl.SSLContext | None = None, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=verify or public_context(),
            max_connections=MAX_CONNECTIONS,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=GuardedBackend(guard, network),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and return its answer, the body still to be read."""
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        response = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                url,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response), request=request)

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    """The body of an answer as it comes over the wire."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._response.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._response.aclose()
