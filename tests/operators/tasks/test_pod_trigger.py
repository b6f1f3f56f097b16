"""The trigger that waits for pods, against an API server that says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
from kubernetes_asyncio import client

from operators.pods.masking import Masker
from operators.pods.output import SHOWN
from operators.tasks import pod_trigger
from operators.tasks.pod_trigger import PodTrigger
from operators.tasks.quiet import CLUSTER_LOGGERS
from operators.tasks.triggers import StepTrigger
from tests.stubs.http_server import Exchange, HttpServer

pytestmark = pytest.mark.unit

MARKER = "tenant-marker-6b2d"
PODS = "/api/v1/namespaces/ns/pods"


class ApiServer(HttpServer):
    """Pods of one execution, by name: the state of their base container, and what their containers have printed."""

    def __init__(self) -> None:
        super().__init__()
        self.states: dict[str, str] = {}
        self.printed: dict[str, bytes] = {}
        self.shown: dict[str, str] = {}
        self.lists: list[str] = []
        self.on(PODS, self._list)

    def pod(self, name: str, state: str, printed: bytes = b"") -> None:
        """Have a pod."""
        self.states[name], self.printed[name] = state, printed
        self.on(f"{PODS}/{name}/log", lambda exchange: exchange.answer(200, self.printed[name]))
        self.on(f"{PODS}/{name}", lambda exchange: self._patch(name, exchange))

    def _list(self, exchange: Exchange) -> None:
        self.lists.append(exchange.target)
        body = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [*map(self._document, self.states)]}
        exchange.answer(200, json.dumps(body).encode(), content_type="application/json")

    def _patch(self, name: str, exchange: Exchange) -> None:
        self.shown[name] = json.loads(exchange.body)["metadata"]["annotations"][SHOWN]
        exchange.answer(200, json.dumps(self._document(name)).encode(), content_type="application/json")

    def _document(self, name: str) -> dict[str, Any]:
        state = {"terminated": {"exitCode": 0}} if self.states[name] == "terminated" else {self.states[name]: {}}
        base = {"name": "base", "state": state, "image": "i", "imageID": "", "ready": True, "restartCount": 0}
        metadata = {"name": name, "annotations": {SHOWN: self.shown.get(name, "0")}}
        return {"metadata": metadata, "status": {"phase": "Running", "containerStatuses": [base]}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    """An API server to which the connection of the triggers leads; the control plane has no news."""

    @asynccontextmanager
    async def connection(hook: Any) -> AsyncIterator[client.ApiClient]:
        async with client.ApiClient(client.Configuration(host=server.url(""))) as made:
            yield made

    async def no_news(trigger: StepTrigger) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AsyncKubernetesHook, "get_conn", connection)
    monkeypatch.setattr(StepTrigger, "_news", no_news)
    monkeypatch.setattr(pod_trigger, "FIRST_SECONDS", 0.01)
    monkeypatch.setattr(pod_trigger, "LATER_SECONDS", 0.01)
    levels = {name: logging.getLogger(name).level for name in CLUSTER_LOGGERS}
    with ApiServer() as server:
        yield server
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def trigger_of(*pods: tuple[str, str | None]) -> PodTrigger:
    trigger = PodTrigger("execution", (), None, "connection", "ns", pods)
    trigger._log = logging.getLogger("test-of-trigger")  # type: ignore[assignment]
    # There is nothing to mask, and nobody has to be asked.
    trigger._mask = Masker()
    return trigger


async def looked(server: ApiServer, times: int = 3) -> None:
    """Wait until the API server was asked so often from now on."""
    wanted = len(server.lists) + times
    async with asyncio.timeout(10):
        while len(server.lists) < wanted:
            await asyncio.sleep(0.01)


async def test_it_watches_every_pod(server: ApiServer) -> None:
    for name in ("one", "two", "three"):
        server.pod(name, "running")
    waits = asyncio.create_task(trigger_of(("one", None), ("two", None), ("three", None))._news())
    await looked(server)
    assert not waits.done()
    server.states["three"] = "terminated"
    await asyncio.wait_for(waits, 10)
    assert server.lists[0] == f"{PODS}?labelSelector=agent-factory/execution%3Dexecution"


async def test_it_watches_every_job_of_a_shared_pod(server: ApiServer) -> None:
    server.pod("one", "running", b"took a\ntook b\n")
    waits = asyncio.create_task(trigger_of(("one", "a"), ("one", "b"))._news())
    await looked(server)
    assert not waits.done()
    server.printed["one"] += b"done a\n"
    await asyncio.wait_for(waits, 10)


@pytest.mark.parametrize("log", [b"took a\n", b"took a\ntook b\nlost it\n"])
async def test_a_job_not_taken_and_a_lost_keeper_are_news(server: ApiServer, log: bytes) -> None:
    server.pod("one", "running", log)
    await asyncio.wait_for(trigger_of(("one", "a"), ("one", "b"))._news(), 10)


async def test_a_pod_that_is_gone_is_news(server: ApiServer) -> None:
    server.pod("one", "running")
    await asyncio.wait_for(trigger_of(("one", None), ("two", None))._news(), 10)


async def test_what_each_container_prints_is_shown(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.pod("one", "running", b"first\nsec")
    server.pod("two", "running", b"other\n")
    waits = asyncio.create_task(trigger_of(("one", None), ("two", None))._news())
    await looked(server)
    server.printed["one"] += b"ond\n"
    await looked(server)
    waits.cancel()
    assert [text for text in caplog.messages if text.startswith("|")] == ["| first", "| other", "| second"]
    assert server.shown == {"one": "13", "two": "6"}


async def test_output_that_is_not_utf_8_is_no_news(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server.pod("one", "running", b"\xff\n")
    waits = asyncio.create_task(trigger_of(("one", None))._news())
    await looked(server)
    assert not waits.done()
    waits.cancel()
    assert caplog.messages == ["| \N{REPLACEMENT CHARACTER}"]


async def test_a_look_that_fails_is_no_news(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    server.pod("one", "running")
    listed = server._list
    server.on(PODS, lambda exchange: exchange.answer(200, b"nonsense " + MARKER.encode()))
    waits = asyncio.create_task(trigger_of(("one", None))._news())
    async with asyncio.timeout(10):
        while len(caplog.messages) < 3:
            await asyncio.sleep(0.01)
    assert not waits.done()
    assert MARKER not in caplog.text
    server.states["one"] = "terminated"
    server.on(PODS, listed)
    await asyncio.wait_for(waits, 10)


async def test_its_pauses_grow_while_looks_fail(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 8:
            raise asyncio.CancelledError

    server.on(PODS, lambda exchange: exchange.answer(500))
    monkeypatch.setattr(pod_trigger, "FIRST_SECONDS", 1.0)
    monkeypatch.setattr(pod_trigger.asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        await trigger_of(("one", None))._pod_news()
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize(("passed", "pods", "pause"), [(0, 1, 1), (15, 1, 1.5), (900, 1, 2), (900, 1_000, 20)])
def test_how_often_it_looks(passed: float, pods: int, pause: float) -> None:
    assert trigger_of(*[("one", None)] * pods)._pause(passed) == pause


async def test_answers_are_not_logged_at_debug_level(server: ApiServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server.pod("one", "running", b"took a\n" + MARKER.encode())
    server.pod("two", "running")
    server.states["two"] = "waiting"
    waits = asyncio.create_task(trigger_of(("one", "a"), ("two", None))._news())
    await looked(server)
    waits.cancel()
    assert "response body" not in caplog.text
    assert MARKER not in caplog.text


def test_what_airflow_stores() -> None:
    trigger = trigger_of(("one", "a"), ("two", None))
    path, arguments = trigger.serialize()
    assert path == "operators.tasks.pod_trigger.PodTrigger"
    assert json.loads(json.dumps(arguments)) == arguments
    assert PodTrigger(**arguments).serialize() == trigger.serialize()


def test_one_that_was_stored_with_one_pod() -> None:
    stored: dict[str, Any] = {"execution_id": "x", "awaited": [], "until": None, "connection": "c", "namespace": "ns"}
    assert PodTrigger(**stored, pod="one", job="a").pods == [["one", "a"]]
