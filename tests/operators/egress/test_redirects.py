"""Redirects: where they lead, what goes along, where they end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from compiler.urls import parse_url
from operators.egress import EgressError, EgressRequest
from operators.egress.client import EgressClient
from operators.egress.redirects import is_secret_header
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.unit

SECRETS = (("Authorization", "Bearer s"), ("Cookie", "a=s"), ("X-Api-Key", "s"), ("X-Custom-Token", "s"))
OTHERS = (("X-Trace", "1"), ("Accept", "text/plain"))


@pytest.fixture
def other() -> Iterator[HttpServer]:
    """Another origin."""
    with HttpServer() as server:
        server.on("/end", lambda exchange: exchange.answer(200, b"end"))
        yield server


@pytest.fixture(autouse=True)
def _end(server: HttpServer) -> None:
    server.on("/end", lambda exchange: exchange.answer(200, b"end"))


def request(server: HttpServer, path: str = "/", method: str = "GET", body: bytes | None = None) -> EgressRequest:
    headers = (*SECRETS, *OTHERS)
    if body is not None:
        headers = (*headers, ("Content-Type", "text/plain"), ("Idempotency-Key", "k"))
    return EgressRequest(method, parse_url(server.url(path)), headers, body)


@pytest.mark.parametrize(
    ("status", "method", "becomes"),
    [
        (301, "GET", "GET"),
        (301, "POST", "GET"),
        (301, "PUT", "PUT"),
        (302, "POST", "GET"),
        (302, "DELETE", "DELETE"),
        (303, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (308, "PATCH", "PATCH"),
    ],
)
async def test_the_method_changes_as_in_browsers(
    status: int, method: str, becomes: str, client: EgressClient, server: HttpServer
) -> None:
    server.on("/", lambda exchange: exchange.redirect("/end", status))
    body = None if method in ("GET", "HEAD") else b"data"
    await client.send(request(server, method=method, body=body))
    last = server.requests[-1]
    assert last.method == becomes
    keeps_body = body is not None and becomes == method
    assert last.body == (b"data" if keeps_body else b"")
    assert ("content-type" in last.headers) is keeps_body
    assert ("idempotency-key" in last.headers) is keeps_body
    assert last.headers["authorization"] == "Bearer s"


async def test_credentials_stay_at_their_origin(client: EgressClient, server: HttpServer, other: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.redirect(other.url("/end"), 307))
    await client.send(request(server, method="POST", body=b"data"))
    [last] = other.requests
    assert not {name.lower() for name, _ in SECRETS} & set(last.headers)
    assert {name.lower(): last.headers[name.lower()] for name, _ in OTHERS} == {"x-trace": "1", "accept": "text/plain"}
    assert last.headers["idempotency-key"] == "k"
    assert last.headers["host"] == f"127.0.0.1:{other.port}"


async def test_credentials_do_not_come_back(client: EgressClient, server: HttpServer, other: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.redirect(other.url("/back")))
    other.on("/back", lambda exchange: exchange.redirect(server.url("/end")))
    await client.send(request(server))
    assert "authorization" not in server.requests[-1].headers


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("authorization", True),
        ("Proxy-Authorization", True),
        ("cookie", True),
        ("X-API-Key", True),
        ("apikey", True),
        ("X-Auth", True),
        ("X-Amz-Security-Token", True),
        ("X-Hub-Signature", True),
        ("X-Password", True),
        ("Client-Secret", True),
        ("X-Session-Id", True),
        ("Idempotency-Key", False),
        ("Content-Type", False),
        ("X-Trace", False),
    ],
)
def test_what_looks_like_a_credential(name: str, secret: bool) -> None:
    assert is_secret_header(name) is secret


@pytest.mark.parametrize(("hops", "ends"), [(1, True), (5, True), (6, False)])
async def test_at_most_five(hops: int, ends: bool, client: EgressClient, server: HttpServer) -> None:
    for hop in range(hops):
        server.on(f"/{hop}", lambda exchange: exchange.redirect(following(exchange.target, hops)))
    if ends:
        assert (await client.send(request(server, "/0"))).body == b"end"
        return
    with pytest.raises(EgressError) as failure:
        await client.send(request(server, "/0"))
    assert (failure.value.code, failure.value.retryable) == ("too_many_redirects", False)
    assert len(server.requests) == 6


def following(target: str, hops: int) -> str:
    number = int(target.removeprefix("/")) + 1
    return "/end" if number == hops else f"/{number}"


async def test_a_loop_ends(client: EgressClient, server: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.redirect("/"))
    with pytest.raises(EgressError, match="5 times"):
        await client.send(request(server))


@pytest.mark.parametrize("status", [300, 304, 305, 306])
async def test_what_is_no_redirect(status: int, client: EgressClient, server: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.redirect("/end", status))
    assert (await client.send(request(server))).status == status


async def test_a_redirect_to_nowhere_is_the_answer(client: EgressClient, server: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.answer(302, b"nowhere"))
    assert (await client.send(request(server))).status == 302


async def test_a_status_that_is_expected_is_not_followed(client: EgressClient, server: HttpServer) -> None:
    server.on("/", lambda exchange: exchange.redirect("/end"))
    sent = EgressRequest("GET", parse_url(server.url()), final_statuses=((200, 200), (302, 303)))
    answer = await client.send(sent)
    assert (answer.status, answer.headers["location"]) == (302, "/end")
