"""``http_request``: what it renders, sends and yields, and how it fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from compiler.expressions import EvaluationError
from operators.egress import EgressClient
from operators.egress.client import EgressLimits
from operators.execution.records import ModelCredential
from operators.settings import egress_policy
from operators.steps.base import StepFailedError, StepKey, StepResult, StepServices
from operators.steps.http_request import HttpCall
from operators.steps.registry import HANDLERS
from tests.operators.execution.plans import step
from tests.stubs.http_server import Exchange, HttpServer

pytestmark = pytest.mark.unit

KEY = StepKey("an-execution", 2, "call")
URL = "https://api.example.com/orders"


async def no_key(provider: str) -> ModelCredential:
    return ModelCredential(provider=provider)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpServer]:
    """A server that the deployment allows."""
    with HttpServer() as server:
        monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", f"127.0.0.1:{server.port}")
        yield server


@pytest.fixture
async def services() -> AsyncIterator[StepServices]:
    services = StepServices(credentials=no_key)
    yield services
    await services.close()


def render(config: dict[str, Any], **scope: Any) -> HttpCall:
    call: HttpCall = HANDLERS["http_request"].render(
        step("call", type="http_request", config={"url": URL, **config}), scope
    )
    return call


async def run(services: StepServices, server: HttpServer, config: dict[str, Any] | None = None) -> StepResult:
    request = render({"url": server.url("/x"), **(config or {})})
    return await HANDLERS["http_request"].call(request, services, KEY)


async def failure_of(services: StepServices, server: HttpServer, **config: Any) -> StepFailedError:
    with pytest.raises(StepFailedError) as failure:
        await run(services, server, config)
    return failure.value


class TestRendering:
    def test_query(self) -> None:
        query = {
            "q": "{{ input.q }}",
            "tags": ["a", "b c"],
            "list": "{{ input.list }}",
            "n": 1,
            "t": True,
            "o": {"a": 1},
        }
        call = render({"query": {**query, "none": None, "nothing": "{{ input.nothing }}"}}, input=INPUT)
        assert (
            call.url.target == "/orders?q=%C3%BC%26x%3Dy&tags=a&tags=b+c&list=1&list=2&n=1&t=true&o=%7B%22a%22%3A1%7D"
        )

    def test_query_behind_one_in_the_url(self) -> None:
        assert render({"url": URL + "?a=1", "query": {"b": 2}}).url.target == "/orders?a=1&b=2"

    def test_url_with_expressions(self) -> None:
        call = render({"url": "https://{{ input.host }}/{{ input.q }}"}, input=INPUT)
        assert str(call.url) == "https://api.example.com/%C3%BC&x=y"

    def test_json_is_compact_utf8_in_order(self) -> None:
        call = render({"method": "POST", "json": {"z": "{{ input.q }}", "a": [1, None, 2.5]}}, input=INPUT)
        assert call.body == '{"z":"ü&x=y","a":[1,null,2.5]}'.encode()
        assert call.headers == (("Content-Type", "application/json"),)

    @pytest.mark.parametrize(("value", "body"), [(None, b"null"), ("x", b'"x"'), (10**30, b"1" + b"0" * 30)])
    def test_json_of_any_kind(self, value: Any, body: bytes) -> None:
        assert render({"method": "POST", "json": value}).body == body

    @pytest.mark.parametrize(("value", "body"), [("a\n", b"a\n"), ("{{ input.o }}", b'{"a":1}'), ("", b"")])
    def test_body(self, value: str, body: bytes) -> None:
        call = render({"method": "POST", "body": value}, input=INPUT)
        assert call.body == body
        assert call.headers == (("Content-Type", "text/plain; charset=utf-8"),)

    def test_a_content_type_of_its_own(self) -> None:
        call = render({"method": "POST", "json": {}, "headers": {"content-type": "application/ld+json"}})
        assert call.headers == (("content-type", "application/ld+json"),)

    def test_headers_are_texts_and_null_leaves_one_out(self) -> None:
        headers = {"X-N": "{{ input.list }}", "X-None": "{{ input.nothing }}", "X-Text": " {{ input.q }} "}
        assert render({"headers": headers}, input=INPUT).headers == (("X-N", "[1,2]"), ("X-Text", "ü&x=y"))

    @pytest.mark.parametrize("value", ["a\r\nX-B: c", "a\nb", "a\rb", "a\0b", "a\x7fb", "\ud800", "x" * 40_000])
    def test_header_values_that_cannot_be_sent(self, value: str) -> None:
        with pytest.raises(StepFailedError, match="`headers`") as failure:
            render({"headers": {"Authorization": "secret-start{{ input }}"}}, input=value)
        assert (failure.value.code, failure.value.retryable) == ("invalid_config", False)
        assert "secret-start" not in failure.value.message

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://x/",
            "",
            None,
            5,
            "/x",
            "http://a@b/",
            "http://127.1/",
            "http://x/\r\nHost: y",
            " http://x/",
            "http://\ud800/",
        ],
    )
    def test_no_url(self, url: Any) -> None:
        with pytest.raises(StepFailedError, match="`url`") as failure:
            render({"url": "{{ input }}"}, input=url)
        assert (failure.value.code, failure.value.retryable) == ("invalid_config", False)

    def test_a_bad_url_is_not_repeated(self) -> None:
        with pytest.raises(StepFailedError) as failure:
            render({"url": "http://user:secret@x/?key=secret"})
        assert "secret" not in failure.value.message

    @pytest.mark.parametrize("method", ["get", "TRACE", "", None, 5, "GET\r\n", ["GET"]])
    def test_no_method(self, method: Any) -> None:
        with pytest.raises(StepFailedError, match="`method`"):
            render({"method": "{{ input }}"}, input=method)

    def test_a_method_without_a_body(self) -> None:
        with pytest.raises(StepFailedError, match="no body"):
            render({"method": "{{ input }}", "json": 1}, input="GET")

    @pytest.mark.parametrize(
        "config", [{"body": "{{ input }}"}, {"json": "{{ input }}"}, {"json": {"a": ["{{ input }}"]}}]
    )
    def test_half_a_surrogate_pair_cannot_be_sent(self, config: dict[str, Any]) -> None:
        with pytest.raises((StepFailedError, EvaluationError)):
            render({"method": "POST", **config}, input="\ud800")

    def test_a_missing_value_is_the_steps_error(self) -> None:
        with pytest.raises(EvaluationError):
            render({"query": {"q": "{{ input.missing }}"}}, input={})

    def test_the_steps_timeout_goes_along(self) -> None:
        handler = HANDLERS["http_request"]
        timed = step("call", type="http_request", config={"url": URL}, timeout_seconds=90)
        assert handler.render(timed, {}).timeout_seconds == 90


INPUT = {"q": "ü&x=y", "list": [1, 2], "nothing": None, "host": "api.example.com", "o": {"a": 1}}


class TestOutput:
    @pytest.mark.parametrize(
        "media_type",
        [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/problem+json",
            "application/vnd.x+json;v=1",
        ],
    )
    async def test_json(self, media_type: str, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200, b' {"b": 1, "a": "\xc3\xbc"}', Content_Type=media_type))
        output: Any = (await run(services, server)).output
        assert output == {
            "status": 200,
            "headers": {"content-type": media_type, "content-length": "20"},
            "json": {"b": 1, "a": "ü"},
        }
        assert list(output["json"]) == ["b", "a"]

    @pytest.mark.parametrize(("body", "value"), [(b"null", None), (b"[]", []), (b"0", 0), (b'\xef\xbb\xbf"x"', "x")])
    async def test_json_of_any_kind(self, body: bytes, value: Any, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200, body, content_type="application/json"))
        output: Any = (await run(services, server)).output
        assert "text" not in output
        assert output["json"] == value

    @pytest.mark.parametrize(
        ("media_type", "body", "text"),
        [
            ("text/plain", b"hello", "hello"),
            ("text/plain", b'{"a": 1}', '{"a": 1}'),
            ("text/json-like", b"{}", "{}"),
            ("", b"hello", "hello"),
            ("nonsense", b"\xc3\xbc", "ü"),
            ("text/html; charset=utf-8", b"\xc3\xbc", "ü"),
            ("text/html; charset=ISO-8859-1", b"\xfc", "ü"),
            ('text/html; charset="windows-1252"', b"\x80", "€"),
            ("text/html; charset=shift_jis", "日本".encode("shift_jis"), "日本"),
            ("text/html; charset=utf-16", "ü".encode("utf-16"), "ü"),
            ("text/html; charset=unknown", b"\xc3\xbc", "ü"),
            ("text/html; charset=unicode_escape", rb"\x41", r"\x41"),
            ("text/html; charset=punycode", b"bcher-kva", "bcher-kva"),
            ("text/html; charset=zip", b"x", "x"),
            ("text/html; charset=a\0b", b"x", "x"),
            ("text/html; charset=utf-8", b"a\xffb\xed\xa0\x80", "a\ufffdb\ufffd\ufffd\ufffd"),
            ("text/plain", b"\xef\xbb\xbfx", "x"),
            ("image/png", b"\x89PNG\0", "\ufffdPNG\0"),
        ],
    )
    async def test_text(
        self, media_type: str, body: bytes, text: str, services: StepServices, server: HttpServer
    ) -> None:
        headers = {"content_type": media_type} if media_type and "\0" not in media_type else {}
        server.on("/x", lambda exchange: exchange.answer(200, body, **headers))
        output: Any = (await run(services, server)).output
        assert "json" not in output
        assert output["text"] == text

    @pytest.mark.parametrize("media_type", ["application/json", "text/plain"])
    @pytest.mark.parametrize("status", [200, 204])
    async def test_an_empty_body(
        self, status: int, media_type: str, services: StepServices, server: HttpServer
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\n\r\n".encode()
        server.on("/x", lambda exchange: exchange.write(head))
        output = (await run(services, server)).output
        assert output == {"status": status, "headers": {"content-type": media_type}, "text": ""}

    async def test_head(self, services: StepServices, server: HttpServer) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n"
        server.on("/x", lambda exchange: exchange.write(head))
        output: Any = (await run(services, server, {"method": "HEAD"})).output
        assert (output["status"], output["text"]) == (200, "")

    @pytest.mark.parametrize(
        "body",
        [
            b"{",
            b"{'a': 1}",
            b"NaN",
            b'{"a": 1} x',
            b"\xff",
            b'"\\ud800"',
            b"<html>",
            b"[" * 51 + b"]" * 51,
            b"[" * 9999,
        ],
    )
    async def test_json_that_is_none(self, body: bytes, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200, body, content_type="application/json"))
        failure = await failure_of(services, server)
        assert (failure.code, failure.retryable) == ("invalid_response", False)

    async def test_json_as_deep_as_expressions_can_read(self, services: StepServices, server: HttpServer) -> None:
        body = b"[" * 50 + b"]" * 50
        server.on("/x", lambda exchange: exchange.answer(200, body, content_type="application/json"))
        assert (await run(services, server)).output is not None

    async def test_a_text_that_grows_in_the_journal(self, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200, b"\1" * 2_000_000))
        assert (await failure_of(services, server)).code == "response_too_large"


class TestStatus:
    @pytest.mark.parametrize(
        ("expected", "status"),
        [("200-299", 200), ("200-299", 299), (404, 404), ("404", 404), ([200, "404-410"], 410), ([500], 500)],
    )
    async def test_expected(self, expected: Any, status: int, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(status))
        output: Any = (await run(services, server, {"expect_status": expected})).output
        assert output["status"] == status

    @pytest.mark.parametrize(
        ("expected", "status", "retryable"),
        [
            ("200-299", 400, False),
            ("200-299", 401, False),
            ("200-299", 404, False),
            ("200-299", 408, True),
            ("200-299", 409, False),
            ("200-299", 429, True),
            ("200-299", 500, True),
            ("200-299", 503, True),
            ("200-299", 304, False),
            (404, 200, False),
            ([200, "404-410"], 411, False),
        ],
    )
    async def test_unexpected(
        self, expected: Any, status: int, retryable: bool, services: StepServices, server: HttpServer
    ) -> None:
        server.on("/x", lambda exchange: exchange.answer(status, b"secret"))
        failure = await failure_of(services, server, expect_status=expected, query={"key": "secret"})
        assert (failure.code, failure.retryable) == ("http_status", retryable)
        assert f"got HTTP {status}" in failure.message
        assert "secret" not in failure.message

    async def test_a_redirect_is_followed_unless_expected(self, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.redirect("/y"))
        server.on("/y", lambda exchange: exchange.answer(200, b"end"))
        followed: Any = (await run(services, server)).output
        kept: Any = (await run(services, server, {"expect_status": [200, 302]})).output
        assert (followed["text"], kept["status"], kept["headers"]["location"]) == ("end", 302, "/y")


class TestIdempotency:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    async def test_side_effects_carry_the_steps_key(
        self, method: str, services: StepServices, server: HttpServer
    ) -> None:
        server.on("/x", lambda exchange: exchange.answer(200))
        await run(services, server, {"method": method})
        assert server.requests[0].headers["idempotency-key"] == "an-execution:2:call"

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    async def test_others_do_not(self, method: str, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200))
        await run(services, server, {"method": method})
        assert "idempotency-key" not in server.requests[0].headers

    async def test_the_workflows_own_wins(self, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200))
        await run(services, server, {"method": "POST", "headers": {"idempotency-key": "mine"}})
        assert server.requests[0].headers["idempotency-key"] == "mine"


class TestFailures:
    async def test_a_private_address(self, services: StepServices, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AGENT_FACTORY_EGRESS_ALLOW", raising=False)
        with HttpServer() as server:
            failure = await failure_of(services, server)
            assert (failure.code, failure.retryable) == ("blocked_address", False)
            assert server.connections == 0

    async def test_a_broken_connection(self, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: None)
        failure = await failure_of(services, server)
        assert (failure.code, failure.retryable) == ("http_error", True)

    async def test_a_body_beyond_the_bound(self, services: StepServices, server: HttpServer) -> None:
        server.on("/x", lambda exchange: exchange.answer(200, b"x" * 5_000_001))
        assert (await failure_of(services, server)).code == "response_too_large"

    async def test_a_setting_that_cannot_be_read(
        self, services: StepServices, server: HttpServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", "internal-name/x")
        failure = await failure_of(services, server)
        assert (failure.code, failure.retryable) == ("invalid_settings", False)
        assert "internal-name" not in failure.message


async def test_the_steps_of_a_run_share_connections(services: StepServices, server: HttpServer) -> None:
    server.on("/x", lambda exchange: exchange.answer(200))
    for _ in range(3):
        await run(services, server)
    assert server.connections == 1
    assert services.egress is not None


async def test_the_end_of_a_run_closes_them(services: StepServices, server: HttpServer) -> None:
    server.on("/x", lambda exchange: exchange.answer(200))
    await run(services, server)
    assert not server.closed.acquire(blocking=False)
    await services.close()
    assert server.closed.acquire(timeout=10)


async def test_the_steps_timeout_replaces_the_clients(services: StepServices, server: HttpServer) -> None:
    server.on("/x", lambda exchange: exchange.answer(200))
    services.egress = EgressClient(egress_policy(), limits=EgressLimits(total_seconds=1e-6, read_seconds=1e-6))
    handler = HANDLERS["http_request"]
    timed = step("call", type="http_request", config={"url": server.url("/x")}, timeout_seconds=90)
    assert (await handler.call(handler.render(timed, {}), services, KEY)).output is not None
    with pytest.raises(StepFailedError) as failure:
        await run(services, server)
    assert failure.value.code == "timeout"


async def test_what_the_server_gets(services: StepServices, server: HttpServer) -> None:
    seen: list[Exchange] = []
    server.on("/x", lambda exchange: (seen.append(exchange), exchange.answer(200))[1])
    await run(services, server, {"method": "PATCH", "json": {"a": [1]}, "headers": {"Authorization": "Bearer t"}})
    [exchange] = seen
    assert (exchange.method, json.loads(exchange.body)) == ("PATCH", {"a": [1]})
    assert exchange.headers["authorization"] == "Bearer t"
    assert exchange.headers["content-type"] == "application/json"
