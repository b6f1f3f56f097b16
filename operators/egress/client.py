"""A client for calls to addresses a tenant chose: guarded, bounded in time and size, redirects checked hop by hop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

import httpcore
import httpx

from compiler.urls import Url
from operators.egress.decoding import ACCEPT_ENCODING, BodyDecoder, too_large
from operators.egress.errors import EgressError
from operators.egress.guard import Guard
from operators.egress.policy import EgressPolicy
from operators.egress.redirects import next_hop
from operators.egress.resolver import Resolver, system_resolver
from operators.egress.transport import GuardedTransport

Answer = TypeVar("Answer")

MAX_HEADER_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Bounds of a call, in seconds and bytes.

    :param total_seconds: From the first look-up of a name to the last byte, all redirects included.
    :param body_bytes: Of an answer's body, as it comes and decoded.
    """

    total_seconds: float = 60.0
    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    body_bytes: int = 5_000_000
    redirects: int = 5


@dataclass(frozen=True, slots=True)
class EgressRequest:
    """A request.

    :param headers: Checked names and values. Those of the client's own must not be among them.
    :param final_statuses: Redirects with a status in one of these ranges are not followed.
    :param total_seconds: Replaces the limits on the total time and on the wait for data.
    """

    method: str
    url: Url
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    final_statuses: tuple[tuple[int, int], ...] = ()
    total_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """An answer; the names of its headers are in lower case, and what stands more than once is joined by commas."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: Url


class EgressClient:
    """Sends requests. Connections are shared by the calls of one client, in one event loop; nothing else is: no
    cookies, no credentials, no proxy of the environment.

    :param resolver: Replaces the operating system's in tests.
    :param verify: Which certificate authorities count; the usual ones by default.
    :param network: What makes connections to checked addresses; replaced in tests.
    """

    def __init__(
        self,
        policy: EgressPolicy,
        *,
        limits: EgressLimits | None = None,
        resolver: Resolver = system_resolver,
        verify: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._limits = limits or EgressLimits()
        self._transport = GuardedTransport(Guard(policy, resolver), verify=verify, network=network)
        self._agent = f"agent-factory/{version('agent-factory')}"

    async def send(self, request: EgressRequest) -> EgressResponse:
        """Send a request, follow its redirects, and return the last answer with its whole body.

        :raises EgressError: There is no such answer.
        """
        seconds = request.total_seconds or self._limits.total_seconds
        try:
            async with asyncio.timeout(seconds) as timer:
                return await self._follow(request)
        except TimeoutError:
            if not timer.expired():
                raise
            message = f"a call must end within {seconds:g} s; that of {request.url.origin} did not"
            raise EgressError("timeout", message, retryable=True) from None

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _follow(self, request: EgressRequest) -> EgressResponse:
        for _ in range(self._limits.redirects + 1):
            answer = await self._exchange(request)
            if isinstance(answer, EgressResponse):
                return answer
            request = answer
        raise EgressError("too_many_redirects", f"a call is redirected at most {self._limits.redirects} times")

    async def _exchange(self, request: EgressRequest) -> EgressResponse | EgressRequest:
        """Send a request; return its answer, or the request to which a redirect leads."""
        response = await _translated(self._transport.handle_async_request(self._as_sent(request)), request.url)
        try:
            headers = self._headers(response)
            following = next_hop(request, response.status_code, headers.get("location"))
            if following is not None:
                return following
            body = await _translated(self._read(response, headers), request.url)
            return EgressResponse(response.status_code, headers, body, request.url)
        finally:
            await response.aclose()

    def _as_sent(self, request: EgressRequest) -> httpx.Request:
        own = {"user-agent": self._agent, "accept": "*/*", "accept-encoding": ACCEPT_ENCODING}
        given = {name.lower() for name, _ in request.headers}
        headers = [(name, value) for name, value in own.items() if name not in given]
        limits = self._limits
        read = request.total_seconds or limits.read_seconds
        sent = httpx.Request(
            request.method,
            httpx.URL(str(request.url)),
            headers=[(name.encode(), value.encode()) for name, value in (*headers, *request.headers)],
            content=request.body,
            extensions={"timeout": {"connect": limits.connect_seconds, "read": read, "write": read, "pool": read}},
        )
        # The one reading of the URL that counts is ours; should httpx ever read it otherwise, nothing is sent.
        if (sent.url.scheme, sent.url.raw_host.decode(), sent.url.port) != _as_httpx_reads(request.url):
            raise EgressError("invalid_config", "`url` must be read alike by every parser; this one is not")
        return sent

    @staticmethod
    def _headers(response: httpx.Response) -> dict[str, str]:
        # Colon, space and line break count too: many short ones are as bad as one that is long.
        if sum(len(name) + len(value) + 4 for name, value in response.headers.raw) > MAX_HEADER_BYTES:
            raise _too_large_headers()
        headers: dict[str, list[str]] = {}
        for name, value in response.headers.raw:
            headers.setdefault(name.decode("latin-1").lower(), []).append(_text(value))
        return {name: ", ".join(values) for name, values in headers.items()}

    async def _read(self, response: httpx.Response, headers: dict[str, str]) -> bytes:
        limit = self._limits.body_bytes
        announced = headers.get("content-length", "")
        assert response.request is not None
        if response.request.method == "HEAD":
            return b""
        if announced.isdecimal() and len(announced) < 20 and int(announced) > limit:
            raise too_large(limit)
        codings = [coding.strip().lower() for coding in headers.get("content-encoding", "").split(",")]
        decoder = BodyDecoder([coding for coding in codings if coding not in ("", "identity")], limit)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for piece in response.stream:
            decoder.feed(piece)
        return decoder.finish()


def _as_httpx_reads(url: Url) -> tuple[str, str, int | None]:
    default = {"http": 80, "https": 443}[url.scheme]
    return url.scheme, url.host, None if url.port == default else url.port


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _is_about_certificate(error: BaseException | None) -> bool:
    """Tell whether a certificate was refused: the reason stands somewhere down the causes."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _too_large_headers() -> EgressError:
    return EgressError("response_too_large", f"an answer must have at most {MAX_HEADER_BYTES:,} bytes of headers")


async def _translated(call: Awaitable[Answer], url: Url) -> Answer:
    """Await a call; give the network's errors our codes. Their texts may hold anything, so none is passed on."""
    try:
        return await call
    except httpcore.TimeoutException as error:
        what = "a connection" if isinstance(error, httpcore.ConnectTimeout) else "an answer"
        raise EgressError("timeout", f"{url.origin} must give {what} in time; it did not", retryable=True) from None
    except httpcore.ConnectError as error:
        if _is_about_certificate(error):
            message = f"{url.origin} must have a valid certificate for its name; it has none"
            raise EgressError("http_error", message) from None
        raise EgressError("http_error", f"no connection to {url.origin} came about", retryable=True) from None
    except httpcore.RemoteProtocolError as error:
        if "buffer too long" in str(error):
            raise _too_large_headers() from None
        message = f"{url.origin} must answer in HTTP/1.1; it broke off or sent something else"
        raise EgressError("http_error", message, retryable=True) from None
    except httpcore.LocalProtocolError:
        raise EgressError("invalid_config", "the request must be HTTP/1.1; check `method` and `headers`") from None
    except httpcore.NetworkError:
        raise EgressError("http_error", f"the connection to {url.origin} broke", retryable=True) from None
