"""The client over real connections: what it sends, what it bounds, how it fails."""

from __future__ import annotations

import gzip
import logging
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from compiler.urls import parse_url
from operators.egress import EgressError, EgressRequest, EgressResponse
from operators.egress.client import EgressClient, EgressLimits
from tests.operators.egress.conftest import ClientFactory, Names
from tests.stubs.http_server import Exchange, HttpServer

pytestmark = pytest.mark.unit

LIMIT = 100_000
ZEROS = b"\0" * 50_000_000


async def get(client: EgressClient, url: str, **fields: Any) -> EgressResponse:
    return await client.send(EgressRequest("GET", parse_url(url), **fields))


async def failure_of(client: EgressClient, url: str, **fields: Any) -> EgressError:
    with pytest.raises(EgressError) as failure:
        await get(client, url, **fields)
    return failure.value


@pytest.fixture
def small(make_client: ClientFactory) -> EgressClient:
    """A client with a bound that is quickly reached."""
    return make_client(allow="127.0.0.1", limits=EgressLimits(body_bytes=LIMIT))


@pytest.fixture
def hasty(make_client: ClientFactory) -> EgressClient:
    """A client that waits for a moment only."""
    return make_client(allow="127.0.0.1", limits=EgressLimits(total_seconds=0.3))


def raw(data: bytes) -> Callable[[Exchange], None]:
    return lambda exchange: exchange.write(data)


class TestWhatIsSent:
    async def test_a_plain_get(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/a", lambda exchange: exchange.answer(200, b"ok"))
        await get(client, server.url("/a?x=1#fragment"))
        [exchange] = server.requests
        assert (exchange.method, exchange.target, exchange.body) == ("GET", "/a?x=1", b"")
        assert exchange.headers.pop("user-agent").startswith("agent-factory/")
        assert exchange.headers == {
            "host": f"127.0.0.1:{server.port}",
            "accept": "*/*",
            "accept-encoding": "gzip, deflate",
        }

    async def test_a_body_and_headers(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(201))
        headers = (("X-Name", "Mü"), ("User-Agent", "mine"))
        request = EgressRequest("POST", parse_url(server.url()), headers, "Straße".encode())
        assert (await client.send(request)).status == 201
        [exchange] = server.requests
        assert exchange.body == "Straße".encode()
        assert exchange.headers["content-length"] == "7"
        assert exchange.headers["x-name"].encode("latin-1").decode() == "Mü"
        assert exchange.headers["user-agent"] == "mine"

    async def test_the_host_is_the_names(self, make_client: ClientFactory, server: HttpServer) -> None:
        names = Names(shop_example=["127.0.0.1"])
        server.on("/", lambda exchange: exchange.answer(200))
        await get(make_client(allow="shop.example", resolver=names), server.url("/", "shop.example"))
        assert server.requests[0].headers["host"] == f"shop.example:{server.port}"

    async def test_connections_are_used_again(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, b"ok"))
        for _ in range(3):
            await get(client, server.url())
        assert (server.connections, len(server.requests)) == (1, 3)

    async def test_no_cookie_is_kept(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, set_cookie="session=1"))
        await get(client, server.url())
        await get(client, server.url())
        assert "cookie" not in server.requests[1].headers

    @pytest.mark.parametrize("addresses", [["127.0.0.9", "127.0.0.1"], ["127.0.0.1", "127.0.0.9"]])
    async def test_one_address_that_does_not_answer(
        self, addresses: list[str], make_client: ClientFactory, server: HttpServer
    ) -> None:
        names = Names(shop_example=addresses)
        server.on("/", lambda exchange: exchange.answer(200, b"ok"))
        client = make_client(allow="127.0.0.0/8", resolver=names)
        assert (await get(client, server.url("/", "shop.example"))).body == b"ok"


class TestAnswers:
    async def test_headers_of_one_name_are_joined(self, client: EgressClient, server: HttpServer) -> None:
        head = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nX-B: \xc3\xbc\r\nX-C: \xfc\r\n\r\n"
        server.on("/", raw(head))
        headers = (await get(client, server.url())).headers
        assert headers == {"x-a": "1", "set-cookie": "a=1, b=2", "x-b": "ü", "x-c": "ü"}

    @pytest.mark.parametrize(
        ("coding", "data"),
        [
            ("gzip", gzip.compress(b"hello")),
            ("x-gzip", gzip.compress(b"hello")),
            ("GZIP", gzip.compress(b"hel") + gzip.compress(b"lo")),
            ("gzip", gzip.compress(b"hello") + b"\0\0\0"),
            ("deflate", zlib.compress(b"hello")),
            ("deflate", zlib.compress(b"hello")[2:-4]),
            ("identity", b"hello"),
        ],
        ids=["gzip", "x-gzip", "members", "padded", "deflate", "raw", "identity"],
    )
    async def test_encodings(self, coding: str, data: bytes, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, data, content_encoding=coding))
        assert (await get(client, server.url())).body == b"hello"

    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    async def test_an_encoding_in_single_bytes(self, coding: str, client: EgressClient, server: HttpServer) -> None:
        data = gzip.compress(b"hello" * 9) if coding == "gzip" else zlib.compress(b"hello" * 9)
        chunks = b"".join(b"1\r\n" + data[index : index + 1] + b"\r\n" for index in range(len(data))) + b"0\r\n\r\n"
        head = f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-encoding: {coding}\r\n\r\n"
        server.on("/", raw(head.encode() + chunks))
        assert (await get(client, server.url())).body == b"hello" * 9

    async def test_head_with_a_length(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/", raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\ncontent-encoding: gzip\r\n\r\n"))
        answer = await client.send(EgressRequest("HEAD", parse_url(server.url())))
        assert (answer.status, answer.body) == (200, b"")

    @pytest.mark.parametrize("status", [204, 304])
    async def test_answers_without_a_body(self, status: int, client: EgressClient, server: HttpServer) -> None:
        server.on("/", raw(f"HTTP/1.1 {status} X\r\ncontent-encoding: gzip\r\n\r\n".encode()))
        answer = await get(client, server.url())
        assert (answer.status, answer.body) == (status, b"")

    async def test_an_interim_answer_is_passed_over(self, client: EgressClient, server: HttpServer) -> None:
        server.on("/", raw(b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))
        assert (await get(client, server.url())).body == b"ok"


class TestSize:
    async def test_exactly_the_bound(self, small: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, b"x" * LIMIT))
        assert len((await get(small, server.url())).body) == LIMIT

    async def test_exactly_the_bound_decoded(self, small: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, gzip.compress(b"x" * LIMIT), content_encoding="gzip"))
        assert len((await get(small, server.url())).body) == LIMIT

    async def test_one_byte_more(self, small: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, b"x" * (LIMIT + 1)))
        assert (await failure_of(small, server.url())).code == "response_too_large"

    async def test_a_length_that_is_announced_is_not_waited_for(self, small: EgressClient, server: HttpServer) -> None:
        def announce(exchange: Exchange) -> None:
            exchange.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n")
            exchange.wait()

        server.on("/", announce)
        assert (await failure_of(small, server.url())).code == "response_too_large"

    @pytest.mark.parametrize(
        ("coding", "bomb"),
        [
            ("gzip", gzip.compress(ZEROS)),
            ("deflate", zlib.compress(ZEROS)),
            ("deflate", zlib.compress(ZEROS)[2:-4]),
            ("gzip", gzip.compress(b"x" * 60_000) * 2),
        ],
        ids=["gzip", "deflate", "raw-deflate", "members"],
    )
    async def test_a_bomb_is_not_decoded_beyond_the_bound(
        self, coding: str, bomb: bytes, small: EgressClient, server: HttpServer
    ) -> None:
        import tracemalloc

        server.on("/", lambda exchange: exchange.answer(200, bomb, content_encoding=coding))
        tracemalloc.start()
        try:
            failure = await failure_of(small, server.url())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (failure.code, failure.retryable) == ("response_too_large", False)
        assert peak < 5_000_000

    @pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "gzip, br", "aws-chunked"])
    async def test_encodings_nobody_asked_for(self, coding: str, small: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, b"x", content_encoding=coding))
        failure = await failure_of(small, server.url())
        assert (failure.code, failure.retryable) == ("invalid_response", False)

    @pytest.mark.parametrize(
        "data",
        [b"no gzip", b"", gzip.compress(b"hello")[:-6], gzip.compress(b"hello") + b"rest"],
        ids=["none", "empty", "cut", "more"],
    )
    async def test_broken_gzip(self, data: bytes, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, data, content_encoding="gzip"))
        if not data:
            assert (await get(client, server.url())).body == b""
            return
        assert (await failure_of(client, server.url())).code == "invalid_response"

    @pytest.mark.parametrize(
        "data",
        [b"x", b"xyz", zlib.compress(b"hello")[:-1], zlib.compress(b"hello") + b"rest"],
        ids=["one", "none", "cut", "more"],
    )
    async def test_broken_deflate(self, data: bytes, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.answer(200, data, content_encoding="deflate"))
        assert (await failure_of(client, server.url())).code == "invalid_response"

    @pytest.mark.parametrize("chunked", [True, False])
    async def test_a_body_without_an_end(self, chunked: bool, small: EgressClient, server: HttpServer) -> None:
        def pour(exchange: Exchange) -> None:
            exchange.write(b"HTTP/1.1 200 OK\r\n" + (b"transfer-encoding: chunked\r\n" if chunked else b"") + b"\r\n")
            while True:  # Until the client hangs up.
                exchange.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")

        server.on("/", pour)
        assert (await failure_of(small, server.url())).code == "response_too_large"

    @pytest.mark.parametrize("lines", [[b"x: " + b"y" * 70_000], [b"x: y"] * 20_000, [b"x" * 200_000 + b": y"]])
    async def test_huge_headers(self, lines: list[bytes], client: EgressClient, server: HttpServer) -> None:
        server.on("/", raw(b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"))
        assert (await failure_of(client, server.url())).code == "response_too_large"

    async def test_headers_without_an_end(self, client: EgressClient, server: HttpServer) -> None:
        def pour(exchange: Exchange) -> None:
            exchange.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                exchange.write(b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 100)

        server.on("/", pour)
        assert (await failure_of(client, server.url())).code == "response_too_large"


class TestTime:
    @pytest.mark.parametrize(
        "beginning",
        [b"", b"HTTP/1.1 200 OK\r\nx: y\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"],
        ids=["nothing", "headers", "body"],
    )
    async def test_silence(self, beginning: bytes, hasty: EgressClient, server: HttpServer) -> None:
        def stall(exchange: Exchange) -> None:
            exchange.write(beginning)
            exchange.wait()

        server.on("/", stall)
        failure = await failure_of(hasty, server.url())
        assert (failure.code, failure.retryable) == ("timeout", True)

    async def test_drops_do_not_prolong_it(self, hasty: EgressClient, server: HttpServer) -> None:
        import threading

        def drip(exchange: Exchange) -> None:
            exchange.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:  # Until the client hangs up.
                exchange.write(b"x")
                threading.Event().wait(0.02)

        server.on("/", drip)
        assert (await failure_of(hasty, server.url())).code == "timeout"

    async def test_between_two_pieces(self, make_client: ClientFactory, server: HttpServer) -> None:
        client = make_client(allow="127.0.0.1", limits=EgressLimits(read_seconds=0.1))
        server.on("/", Exchange.wait)
        failure = await failure_of(client, server.url())
        assert (failure.code, failure.retryable) == ("timeout", True)

    async def test_a_look_up_that_takes_too_long(self, make_client: ClientFactory) -> None:
        import asyncio

        async def silent(host: str, port: int) -> list[str]:
            await asyncio.Event().wait()
            return []

        client = make_client(resolver=silent, limits=EgressLimits(total_seconds=0.1))
        assert (await failure_of(client, "http://slow.example/")).code == "timeout"

    async def test_a_request_has_a_time_of_its_own(self, make_client: ClientFactory, server: HttpServer) -> None:
        client = make_client(allow="127.0.0.1", limits=EgressLimits(total_seconds=0.0001, read_seconds=0.0001))
        server.on("/", lambda exchange: exchange.answer(200, b"ok"))
        assert (await get(client, server.url(), total_seconds=30)).body == b"ok"


class TestBrokenServers:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"nonsense\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nhel",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffffffff\r\nhel",
            b"HTTP/1.1 200 OK\r\nx\0y: z\r\n\r\n",
            b"HTTP/1.1 99 OK\r\n\r\n",
        ],
        ids=ascii,
    )
    async def test_is_an_error_of_the_network(self, data: bytes, client: EgressClient, server: HttpServer) -> None:
        server.on("/", raw(data))
        failure = await failure_of(client, server.url())
        assert (failure.code, failure.retryable) == ("http_error", True)

    async def test_nobody_listens(self, client: EgressClient, server: HttpServer) -> None:
        url = server.url()
        server.__exit__()
        failure = await failure_of(client, url)
        assert (failure.code, failure.retryable) == ("http_error", True)

    async def test_no_such_name(self, client: EgressClient) -> None:
        failure = await failure_of(client, "http://no-such-host.invalid/")
        assert (failure.code, failure.retryable) == ("http_error", True)

    async def test_the_client_goes_on_after_failures(self, small: EgressClient, server: HttpServer) -> None:
        server.on("/bad", lambda exchange: exchange.answer(200, b"x" * (LIMIT + 1)))
        server.on("/good", lambda exchange: exchange.answer(200, b"ok"))
        for _ in range(3):
            await failure_of(small, server.url("/bad"))
        assert (await get(small, server.url("/good"))).body == b"ok"


async def test_nothing_is_logged_above_debug(
    client: EgressClient, server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.on("/", lambda exchange: exchange.answer(200))
    await get(client, server.url("/?key=secret"), headers=(("Authorization", "secret"),))
    assert "secret" not in caplog.text
