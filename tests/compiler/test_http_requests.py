"""Stage resolve and check: the config of ``http_request``, and what may be read of its output."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.building import codes, plan_of, problems, transform, workflow

pytestmark = pytest.mark.unit

URL = "https://api.example.com/orders"
CONFIG = "/tasks/0/config"


def call(**config: Any) -> dict[str, Any]:
    return workflow({"id": "call", "type": "http_request", "config": {"url": URL, **config}})


def after(expression: str) -> dict[str, Any]:
    """A workflow that reads the output of a call."""
    first = {"id": "call", "type": "http_request", "config": {"url": URL}, "next": ["after"]}
    return workflow(first, transform("after", {"x": expression}))


def test_defaults() -> None:
    [step] = plan_of(call()).steps
    assert step.config == {"method": "GET", "url": URL, "headers": {}, "query": {}, "expect_status": "200-299"}


def test_it_is_light() -> None:
    assert [unit.kind for unit in plan_of(after("{{ call.output.status }}")).units] == ["segment"]


@pytest.mark.parametrize(
    "config",
    [
        {"method": "POST", "json": {"a": "{{ input.a }}"}},
        {"method": "POST", "json": None},
        {"method": "PUT", "body": "text", "headers": {"Content-Type": "text/plain", "X-Key": "{{ vars.key }}"}},
        {"method": "{{ input.method }}", "json": 1},
        {"method": "DELETE", "body": "x"},
        {"method": "HEAD"},
        {"query": {"q": "{{ input.q }}", "tags": ["a", "b"], "n": 1, "none": None}},
        {"expect_status": 204},
        {"expect_status": "404"},
        {"expect_status": [200, "400-499"]},
        {"url": "{{ input.url }}"},
        {"url": "https://{{ input.host }}/x"},
        {"url": "https://api.example.com/{{ input.path }}"},
        {"url": "{% if input.x %}https{% else %}http{% endif %}://a.example/"},
        {"url": "https://a.example/ {{- input.x }}"},
        {"url": "http://localhost:8080/{# a comment #}"},
        {"url": "http://10.0.0.1/"},
    ],
)
def test_right(config: dict[str, Any]) -> None:
    declared = {**call(**config), "vars": ["key"]}
    assert codes(declared) == []


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"method": "post"}, "/method"),
        ({"method": "CONNECT"}, "/method"),
        ({"method": "TRACE"}, "/method"),
        ({"method": ""}, "/method"),
        ({"json": {"a": 1}}, ""),
        ({"json": None}, ""),
        ({"body": "x"}, ""),
        ({"method": "HEAD", "body": "x"}, ""),
        ({"method": "POST", "json": 1, "body": "x"}, ""),
        ({"headers": {"Host": "x"}}, "/headers"),
        ({"headers": {"content-length": "1"}}, "/headers"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "/headers"),
        ({"headers": {"Connection": "close"}}, "/headers"),
        ({"headers": {"Upgrade": "h2c"}}, "/headers"),
        ({"headers": {"Accept-Encoding": "br"}}, "/headers"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "/headers"),
        ({"headers": {"X A": "1"}}, "/headers"),
        ({"headers": {"": "1"}}, "/headers"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "/headers"),
        ({"expect_status": "ok"}, "/expect_status"),
        ({"expect_status": 99}, "/expect_status"),
        ({"expect_status": 600}, "/expect_status"),
        ({"expect_status": True}, "/expect_status"),
        ({"expect_status": 200.0}, "/expect_status"),
        ({"expect_status": "299-200"}, "/expect_status"),
        ({"expect_status": "200-"}, "/expect_status"),
        ({"expect_status": []}, "/expect_status"),
        ({"expect_status": [200, "x"]}, "/expect_status"),
        ({"expect_status": "{{ input.s }}"}, "/expect_status"),
        ({"url": "example.com/x"}, "/url"),
        ({"url": "ftp://example.com/"}, "/url"),
        ({"url": "file:///etc/passwd"}, "/url"),
        ({"url": "https://user:password@example.com/"}, "/url"),
        ({"url": "https://example.com:99999/"}, "/url"),
        ({"url": "http://127.1/"}, "/url"),
        ({"url": "http://exa mple.com/"}, "/url"),
        ({"url": "http://example.com/ "}, "/url"),
        ({"url": "ftp://{{ input.host }}/"}, "/url"),
        ({"url": "https://me@{{ input.host }}/"}, "/url"),
        ({"url": "https://user@example.com/{{ input.x }}"}, "/url"),
        ({"url": "http://0x7f000001/{{ input.x }}"}, "/url"),
        ({"url": "/orders/{{ input.x }}"}, "/url"),
    ],
)
def test_wrong(config: dict[str, Any], path: str) -> None:
    assert codes(call(**config)) == [("invalid_config", CONFIG + path)]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"url": ""}, ("invalid_field", CONFIG + "/url")),
        ({"url": 1}, ("invalid_field", CONFIG + "/url")),
        ({"headers": {"X-A": 1}}, ("invalid_field", CONFIG + "/headers/X-A")),
        ({"query": "a=b"}, ("invalid_field", CONFIG + "/query")),
        ({"body": {"a": 1}, "method": "POST"}, ("invalid_field", CONFIG + "/body")),
        ({"params": {}}, ("unknown_field", CONFIG + "/params")),
        ({"query": {"q": "{{ input. }}"}}, ("expression_syntax", CONFIG + "/query/q")),
        ({"json": ["{{ nobody.output }}"], "method": "POST"}, ("undefined_reference", CONFIG + "/json/0")),
    ],
)
def test_wrong_types(config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(call(**config)) == [expected]


def test_no_url() -> None:
    assert codes(workflow({"id": "call", "type": "http_request", "config": {}})) == [("missing_field", CONFIG)]


def test_messages_say_what_to_do() -> None:
    [method] = problems(call(method="post"))
    assert method.message.endswith("OPTIONS; write POST; got 'post'.")
    [body] = problems(call(json=1))
    assert "must have no `json` with GET; set `method`, e.g. POST" in body.message


@pytest.mark.parametrize(
    "expression",
    [
        "{{ call.output.status }}",
        "{{ call.output.headers['content-type'] }}",
        "{{ call.output.json.items[0].id }}",
        "{{ call.output.text | default('') }}",
        "{{ call.output }}",
    ],
)
def test_what_can_be_read(expression: str) -> None:
    assert codes(after(expression)) == []


@pytest.mark.parametrize(
    "expression", ["{{ call.output.body }}", "{{ call.output.Status }}", "{{ call.output.data.x }}"]
)
def test_what_cannot_be_read(expression: str) -> None:
    assert codes(after(expression)) == [("undefined_reference", "/tasks/1/config/set/x")]


def test_it_may_be_retried() -> None:
    source = call()
    source["tasks"][0] |= {"retry": {"attempts": 3}, "timeout": "5s"}
    [step] = plan_of(source).steps
    assert (step.retry.attempts, step.timeout_seconds) == (3, 5)
