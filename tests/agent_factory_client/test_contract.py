"""The client against the OpenAPI document: what it sends exists, what it says it gets is what is given."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from agent_factory_client import AgentFactory
from tools.client_schemas import SCHEMAS, public_document, write_schemas

pytestmark = pytest.mark.unit

PARTS = sorted(
    name for name, part in vars(AgentFactory("http://factory.test")).items() if not name.startswith("_") and part
)
# They make several requests of methods that are tried.
COMPOSED = {
    "agents.each", "approvals.each", "audit_log.each", "dead_letters.each", "deliveries.each", "executions.each",
    "executions.wait", "reviews.each", "templates.each",
}  # fmt: skip
STREAMS = {"agents.test", "executions.follow"}


class Sent(Exception):
    """A request was made."""

    def __init__(self, request: httpx.Request) -> None:
        self.request = request


def refuse_to_answer(request: httpx.Request) -> httpx.Response:
    request.read()
    raise Sent(request)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return public_document()


def methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    factory = AgentFactory("http://factory.test", "token", transport=httpx.MockTransport(refuse_to_answer))
    for part in PARTS:
        for name, method in inspect.getmembers(getattr(factory, part), inspect.ismethod):
            if not name.startswith("_") and f"{part}.{name}" not in COMPOSED:
                yield f"{part}.{name}", method


METHODS = dict(methods())


def arguments(method: Callable[..., Any]) -> dict[str, Any]:
    """Return a value for each parameter."""
    values: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            annotation = str(parameter.annotation)
            if "int" in annotation or "float" in annotation:
                values[name] = 7
            elif "dict" in annotation or annotation == "TrialCreate":
                values[name] = {"id": "greet"}
            elif "bytes" in annotation:
                values[name] = b"PK"
            elif "bool" in annotation:
                values[name] = True
            elif "Sequence" in annotation:
                values[name] = ["one"]
            else:
                values[name] = f"a/{name}"
    return values


def sent(method: Callable[..., Any]) -> httpx.Request:
    try:
        next(method(**arguments(method)))  # a stream sends when it is read
    except Sent as sent:
        return sent.request
    raise AssertionError("nothing was sent")


def operation(document: dict[str, Any], request: httpx.Request) -> tuple[str, dict[str, Any]]:
    path = request.url.raw_path.decode().partition("?")[0]
    fitting = [
        (template, item[request.method.lower()])
        for template, item in document["paths"].items()
        if request.method.lower() in item and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    ]
    assert fitting, f"there is no {request.method} {path}"
    # The one with the fewest parameters is what the router takes.
    template, found = min(fitting, key=lambda each: each[0].count("{"))
    return f"{request.method} {template}", found


def schema_name(schema: dict[str, Any]) -> str:
    """Return the name of a schema; of alternatives the first one's."""
    return str(schema.get("anyOf", [schema])[0].get("$ref", "")).rpartition("/")[2]


@pytest.mark.parametrize("name", METHODS)
def test_sends_what_the_api_takes(name: str, document: dict[str, Any]) -> None:
    request = sent(METHODS[name])
    _, found = operation(document, request)
    parameters = [each for each in found.get("parameters", ()) if each["in"] in ("query", "header")]
    known = {each["name"].lower() for each in parameters}
    used = {*request.url.params, *({"if-match", "last-event-id"} & set(request.headers))}
    assert {each.lower() for each in used} <= known
    assert {each["name"].lower() for each in parameters if each.get("required")} <= {each.lower() for each in used}
    content = found.get("requestBody", {}).get("content", {})
    assert bool(request.content) == bool(content)
    if content:
        assert request.headers["content-type"] in content


@pytest.mark.parametrize("name", METHODS)
def test_body_has_the_fields_of_the_api(name: str, document: dict[str, Any]) -> None:
    request = sent(METHODS[name])
    _, found = operation(document, request)
    content = found.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = document["components"]["schemas"].get(schema_name(content.get("schema", {})))
    if schema is None or name == "agents.test":  # its body is the caller's
        return
    fields = set(httpx.Response(200, content=request.content).json())
    assert fields <= set(schema["properties"])
    assert set(schema.get("required", ())) <= fields


@pytest.mark.parametrize("name", METHODS)
def test_says_what_is_given(name: str, document: dict[str, Any]) -> None:
    returns = str(inspect.signature(METHODS[name]).return_annotation)
    _, found = operation(document, sent(METHODS[name]))
    contents = {
        media_type: schema_name(media["schema"])
        for status, answer in found["responses"].items()
        if status.startswith("2")
        for media_type, media in answer.get("content", {}).items()
    }
    if name in STREAMS:
        assert set(contents) == {"text/event-stream"}
    elif returns == "bytes":
        assert set(contents) in ({"application/zip"}, {"application/json"})
    elif returns == "None":
        assert not set(contents.values()) - {""}
    else:
        assert set(contents.values()) == {returns}


def test_whole_api(document: dict[str, Any]) -> None:
    """Every operation can be called by the client."""
    every = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert every == {operation(document, sent(method))[0] for method in METHODS.values()}


def test_schemas_are_up_to_date(tmp_path: Any) -> None:
    write_schemas(tmp_path / "schemas.py")
    assert SCHEMAS.read_text() == (tmp_path / "schemas.py").read_text(), "run: make schema"
