"""Server-side request forgery: what a tenant may try, through the whole client. Nothing is ever connected to."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest

from compiler.urls import UrlError, parse_url
from operators.egress import EgressError, EgressRequest, EgressResponse
from operators.egress.client import EgressClient
from operators.egress.guard import Guard
from operators.egress.policy import EgressPolicy, Endpoint
from operators.egress.transport import GuardedBackend
from tests.operators.egress.conftest import ClientFactory, Names, RecordingNetwork
from tests.operators.egress.hostile import BLOCKED_ADDRESSES, ODD_URLS, PUBLIC_ADDRESSES
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.unit

ABSOLUTE = re.compile(r" ?[a-z+]+://").match
"""Any other text is a path in a redirect."""


async def get(client: EgressClient, url: str) -> EgressResponse:
    return await client.send(EgressRequest("GET", parse_url(url)))


def literal(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@pytest.fixture
def guarded(make_client: ClientFactory, names: Names, network: RecordingNetwork) -> EgressClient:
    """A client as a deployment without settings has it."""
    return make_client(resolver=names, network=network)


async def refused(client: EgressClient, url: str, network: RecordingNetwork) -> None:
    with pytest.raises(EgressError) as failure:
        await get(client, url)
    assert (failure.value.code, failure.value.retryable) == ("blocked_address", False)
    assert network.connected == []


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
async def test_address_in_the_url(address: str, guarded: EgressClient, network: RecordingNetwork) -> None:
    await refused(guarded, literal(address), network)


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES)
async def test_name_of_a_blocked_address(
    address: str, guarded: EgressClient, names: Names, network: RecordingNetwork
) -> None:
    names["evil.example"] = [address]
    await refused(guarded, "https://evil.example/", network)


@pytest.mark.parametrize("address", BLOCKED_ADDRESSES[::4])
async def test_one_bad_address_among_good_ones(
    address: str, guarded: EgressClient, names: Names, network: RecordingNetwork
) -> None:
    names["evil.example"] = ["8.8.8.8", address]
    await refused(guarded, "http://evil.example/", network)


@pytest.mark.parametrize("addresses", [["fe80::1%eth0"], ["garbage"], ["8.8.8.8", "garbage"], ["127.0.0.1%1"]])
async def test_answers_that_are_odd(
    addresses: list[str], guarded: EgressClient, names: Names, network: RecordingNetwork
) -> None:
    names["evil.example"] = addresses
    await refused(guarded, "http://evil.example/", network)


@pytest.mark.parametrize("url", ODD_URLS, ids=ascii)
def test_odd_url(url: str) -> None:
    with pytest.raises(UrlError):
        parse_url(url)


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
async def test_public_address_passes(address: str, guarded: EgressClient, network: RecordingNetwork) -> None:
    assert (await get(guarded, literal(address))).body == b"ok"
    assert network.connected == [(str(ip_address(address)), 80)]


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES[::4])
async def test_name_of_a_public_address_passes_pinned(
    address: str, guarded: EgressClient, names: Names, network: RecordingNetwork
) -> None:
    names["good.example"] = [address]
    assert (await get(guarded, "http://good.example:8080/x")).body == b"ok"
    assert network.connected == [(address, 8080)]


class TestRebinding:
    """A name that leads elsewhere the next time it is asked for."""

    async def test_the_checked_answer_is_the_one_connected_to(
        self, guarded: EgressClient, names: Names, network: RecordingNetwork
    ) -> None:
        names["evil.example"] = [["8.8.8.8"], ["127.0.0.1"]]
        await get(guarded, "http://evil.example/")
        assert network.connected == [("8.8.8.8", 80)]
        assert names.asked == ["evil.example"]

    async def test_the_next_connection_is_checked_again(
        self, guarded: EgressClient, names: Names, network: RecordingNetwork
    ) -> None:
        names["evil.example"] = [["8.8.8.8"], ["127.0.0.1"]]
        await get(guarded, "http://evil.example/")
        with pytest.raises(EgressError, match="loopback"):
            await get(guarded, "http://evil.example/")
        assert network.connected == [("8.8.8.8", 80)]

    async def test_between_the_hops_of_a_redirect(
        self, make_client: ClientFactory, names: Names, server: HttpServer
    ) -> None:
        names["evil.example"] = [["127.0.0.1"], ["127.0.0.2"]]
        server.on("/", lambda exchange: exchange.write(b"HTTP/1.1 302 Found\r\nlocation: /again\r\n\r\n"))
        client = make_client(allow="127.0.0.1", resolver=names)
        with pytest.raises(EgressError, match="loopback"):
            await get(client, server.url("/", "evil.example"))
        assert [exchange.target for exchange in server.requests] == ["/"]


class TestRedirects:
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize(
        "location",
        [
            "http://10.0.0.1/",
            "http://127.0.0.2:{port}/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[::1]:{port}/",
            "http://[::ffff:127.0.0.1]:{port}/",
            "//169.254.169.254/latest/",
            "https://192.168.0.1/",
            "http://inside.example/",
        ],
    )
    async def test_to_a_blocked_address(
        self, status: int, location: str, make_client: ClientFactory, names: Names, server: HttpServer
    ) -> None:
        names["inside.example"] = ["10.1.2.3"]
        client = make_client(allow="127.0.0.1", resolver=names)
        server.on("/", lambda exchange: exchange.redirect(location.format(port=server.port), status))
        with pytest.raises(EgressError) as failure:
            await get(client, server.url())
        assert failure.value.code == "blocked_address"
        assert len(server.requests) == 1

    @pytest.mark.parametrize("url", [url for url in ODD_URLS if url.isascii() and url.isprintable() and ABSOLUTE(url)])
    async def test_to_an_odd_url(self, url: str, client: EgressClient, server: HttpServer) -> None:
        server.on("/", lambda exchange: exchange.redirect(url))
        with pytest.raises(EgressError) as failure:
            await get(client, server.url())
        # Spaces around a header's value are no part of it; then it is a good URL that nobody answers here.
        assert failure.value.code in ("invalid_redirect", "http_error" if url != url.strip() else "")
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "location", ["/\\127.0.0.2/", "/\t/127.0.0.2/", "\\\\127.0.0.2\\", ".//127.0.0.2/", "?//x@y"]
    )
    async def test_what_browsers_take_for_another_host_stays_here(
        self, location: str, client: EgressClient, server: HttpServer
    ) -> None:
        server.on("/", lambda exchange: exchange.redirect(location) if exchange.number == 0 else exchange.answer(200))
        try:
            outcome = (await get(client, server.url())).url.host
        except EgressError as error:
            outcome = error.code
        assert outcome in ("127.0.0.1", "invalid_redirect")
        assert server.connections == len(server.requests)


class TestOwnEndpoints:
    """The platform's own ports are never reached, whatever else is allowed."""

    ALLOW = "127.0.0.0/8,::1,localhost,0.0.0.0,control.example"

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1:8700/",
            "http://127.0.0.2:8700/",
            "http://0.0.0.0:8700/",
            "http://localhost:8700/",
            "http://[::1]:8700/",
            "http://control.example:9000/",
            "http://10.0.0.7:9000/",
        ],
    )
    async def test_refused(self, url: str, make_client: ClientFactory, names: Names, network: RecordingNetwork) -> None:
        own = (Endpoint("127.0.0.1", 8700), Endpoint("control.example", 9000))
        policy = EgressPolicy.parse(self.ALLOW + ",10.0.0.0/8", own=own)
        names["localhost"] = ["127.0.0.1"]
        names["control.example"] = ["10.0.0.7"]
        await refused(make_client(policy=policy, resolver=names, network=network), url, network)

    async def test_another_port_is_reached(
        self, make_client: ClientFactory, names: Names, network: RecordingNetwork
    ) -> None:
        policy = EgressPolicy.parse(self.ALLOW, own=(Endpoint("127.0.0.1", 8700),))
        await get(make_client(policy=policy, resolver=names, network=network), "http://127.0.0.1:8701/")
        assert network.connected == [("127.0.0.1", 8701)]

    async def test_a_public_front_door_shared_with_others_is_reached(
        self, make_client: ClientFactory, names: Names, network: RecordingNetwork
    ) -> None:
        names["control.example"] = names["shop.example"] = ["8.8.8.8"]
        policy = EgressPolicy(own=(Endpoint("control.example", 80),))
        await get(make_client(policy=policy, resolver=names, network=network), "http://shop.example/")
        assert network.connected == [("8.8.8.8", 80)]


async def test_no_unix_socket(network: RecordingNetwork) -> None:
    with pytest.raises(EgressError, match="Unix socket"):
        await GuardedBackend(Guard(EgressPolicy()), network).connect_unix_socket("/var/run/docker.sock")


async def test_the_proxies_of_the_environment_are_not_used(
    client: EgressClient, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://10.0.0.1:3128")
    server.on("/", lambda exchange: exchange.answer(200, b"direct"))
    assert (await get(client, server.url())).body == b"direct"


async def test_an_error_does_not_tell_where_a_name_leads(guarded: EgressClient, names: Names) -> None:
    names["inside.example"] = ["10.11.12.13"]
    with pytest.raises(EgressError) as failure:
        await get(guarded, "http://inside.example/secret-path?key=secret")
    assert "10.11" not in failure.value.message
    assert "secret" not in failure.value.message
    assert "'inside.example'" in failure.value.message
