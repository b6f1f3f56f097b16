"""The log: what is in it, and that nothing of a caller's is."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from api.gateway.logs import FIELDS, JsonFormatter, TextFormatter, clean
from tests.api.control_plane import WORKFLOW_ID, ControlPlane

pytestmark = pytest.mark.platform

MARKER = "planted-marker"


class Log:
    """All that is logged, in both formats."""

    def __init__(self) -> None:
        self.streams = {"json": io.StringIO(), "text": io.StringIO()}

    @property
    def text(self) -> str:
        return self.streams["json"].getvalue() + self.streams["text"].getvalue()

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.streams["json"].getvalue().splitlines()]

    @property
    def requests(self) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["message"] == "request"]


@pytest.fixture
def log() -> Iterator[Log]:
    seen, root = Log(), logging.getLogger()
    level, handlers = root.level, []
    for name, formatter in (("json", JsonFormatter()), ("text", TextFormatter())):
        handler = logging.StreamHandler(seen.streams[name])
        handler.setFormatter(formatter)
        handlers.append(handler)
        root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # of the test's own client
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    yield seen
    root.setLevel(level)
    for handler in handlers:
        root.removeHandler(handler)


async def test_a_line_for_each_request(control_plane: ControlPlane, log: Log) -> None:
    await control_plane.publish()
    await control_plane.api.get("/api/v1/executions/01990000-0000-7000-8000-000000000001?a=b")
    published, shown = log.requests
    assert (published["route"], published["status"]) == ("/api/v1/workflows/{workflow_id}/publish", 201)
    assert (shown["route"], shown["method"], shown["status"]) == ("/api/v1/executions/{execution_id}", "GET", 404)
    assert shown["organization_id"] == str(control_plane.app.state.organization_id)
    assert shown["ms"] >= 0
    assert shown["request_id"] != published["request_id"]


async def test_probes_are_quiet(control_plane: ControlPlane, log: Log) -> None:
    while (await control_plane.public.get("/ready")).status_code != 200:
        await asyncio.sleep(0.1)
    # One that is not ready is in the log.
    before = log.requests
    for path in ("/health", "/ready"):
        await control_plane.public.get(path)
    assert log.requests == before


async def test_the_request_id_is_in_every_line(control_plane: ControlPlane, log: Log) -> None:
    async def talkative() -> None:
        logging.getLogger("somewhere").warning("in the middle")

    control_plane.app.add_api_route("/talkative", talkative)
    await control_plane.public.get("/talkative", headers={"x-request-id": "abc-1"})
    assert {entry["request_id"] for entry in log.entries if entry["logger"] in ("somewhere", "api.access")} == {"abc-1"}


async def test_nothing_of_a_caller(control_plane: ControlPlane, log: Log) -> None:
    await control_plane.publish()
    headers = {
        "authorization": f"Bearer {MARKER}",
        "user-agent": MARKER,
        "x-request-id": f"{MARKER} ",
        "cookie": MARKER,
    }
    sent = [
        ("GET", f"/api/v1/executions/{MARKER}?token={MARKER}", None),
        ("GET", f"/{MARKER}?{MARKER}", None),
        (MARKER.upper(), "/api/v1/approvals", None),
        ("POST", "/api/v1/workflows/execute", {"workflow_id": MARKER, "input": MARKER}),
        ("POST", "/api/v1/workflows/execute", {"workflow_id": WORKFLOW_ID, "input": {"name": MARKER}}),
        ("POST", f"/api/v1/workflows/{MARKER}/publish", {"id": MARKER}),
        ("POST", f"/webhook/default/{MARKER}?{MARKER}={MARKER}", {"name": MARKER}),
        ("POST", f"/webhook/default/greet?q={MARKER}", {"name": MARKER}),
    ]
    for client in (control_plane.public, control_plane.api, control_plane.runtime):
        for method, url, body in sent:
            own = {
                name: value
                for name, value in headers.items()
                if name != "authorization" or client is control_plane.public
            }
            await client.request(method, url, json=body, headers=own)
    assert len(log.requests) == 1 + 3 * len(sent)
    assert MARKER not in log.text.lower()


class TestFailures:
    @pytest.fixture
    def broken(self, control_plane: ControlPlane) -> ControlPlane:
        async def fail(request: Any) -> None:
            try:
                raise ValueError(f"inner {MARKER}")
            except ValueError as error:
                raise RuntimeError(f"outer {MARKER} {await request.body()!r}") from error

        async def fail_in_database() -> None:
            from sqlalchemy import text

            async with control_plane.database.system() as session:
                await session.execute(text("SELECT CAST(:value AS integer)"), {"value": 1})
                await session.execute(text(f"SELECT CAST('{MARKER}' AS integer)"))

        from fastapi import Request

        fail.__annotations__["request"] = Request
        control_plane.app.add_api_route("/broken/{name}", fail, methods=["POST"])
        control_plane.app.add_api_route("/database/{name}", fail_in_database, methods=["POST"])
        return control_plane

    @pytest.mark.parametrize("path", ["broken", "database"])
    async def test_the_failure_is_told_and_not_its_words(self, broken: ControlPlane, log: Log, path: str) -> None:
        response = await broken.public.post(f"/{path}/{MARKER}?q={MARKER}", content=MARKER, headers={"x-a": MARKER})
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert MARKER not in log.text
        [failure] = [entry for entry in log.entries if "exception" in entry]
        assert failure["request_id"] == response.headers["x-request-id"]
        assert any("test_logs.py" in line for line in failure["exception"])
        assert log.requests[0]["status"] == 500

    async def test_behind_the_real_server(self, broken: ControlPlane, served_url: str, log: Log) -> None:
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{served_url}/broken/{MARKER}?q={MARKER}", content=MARKER)
        assert response.status_code == 500
        assert MARKER not in log.text


class TestFormat:
    @pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
    def test_no_text_can_begin_a_line(self, formatter: logging.Formatter) -> None:
        evil = "a\r\n2026-01-01 INFO forged\x1b[31m\u2028\u0085\ud800b"
        record = logging.LogRecord("name", logging.INFO, __file__, 1, "said %s", (evil,), None)
        setattr(record, FIELDS, {"route": evil})
        line = formatter.format(record)
        assert len(line.splitlines()) == 1
        assert not any(ord(character) < 32 for character in line)

    def test_clean_keeps_what_is_harmless(self) -> None:
        assert clean("größer 日本 %s {}") == "größer 日本 %s {}"
        assert len(clean("x" * 10_000)) < 5_000
