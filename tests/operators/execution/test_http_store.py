"""The HTTP store keeps the contract, and what it does when the API is away or talks nonsense."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from pydantic import JsonValue

from compiler.plan import Plan
from operators.execution.http import HttpStore
from operators.execution.memory import InMemoryStore
from operators.execution.records import ModelCredential
from operators.execution.store import ExecutionEndedError, LeaseHeldError, RejectedError, StaleLeaseError, StoreError
from operators.settings import RuntimeSettings, SettingsError, runtime_settings
from tests.operators.execution.store_contract import StoreContract, request
from tests.operators.execution.test_memory_store import MemoryWorld
from tests.stubs.runtime_api import TOKEN, RuntimeApi

pytestmark = pytest.mark.unit

SETTINGS = RuntimeSettings("http://control-plane", TOKEN)


class HttpWorld(MemoryWorld):
    """The same world, seen through HTTP."""

    def __init__(self) -> None:
        super().__init__()
        self.memory: InMemoryStore = self.store
        api = RuntimeApi(self.memory)
        self.store: Any = HttpStore(SETTINGS, transport=httpx.ASGITransport(api.app))

    async def accept(self, plan: Plan, *, input: JsonValue = None) -> str:
        self._count += 1
        execution_id = f"manual__2026-01-01T00:00:0{self._count}+00:00"
        self.memory.accept(execution_id, plan, input=input)
        return execution_id

    async def cancel(self, execution_id: str) -> None:
        self.memory.cancel(execution_id)


class TestHttpStore(StoreContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[HttpWorld]:
        world = HttpWorld()
        yield world
        await world.store.close()


def store_answering(*answers: httpx.Response | Exception) -> tuple[HttpStore, list[httpx.Request]]:
    """A store whose API gives the answers one after the other, the last for ever."""
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = answers[min(len(seen), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return HttpStore(SETTINGS, transport=httpx.MockTransport(handle)), seen


OK = httpx.Response(200, json={"provider": "openai", "api_key": "k"})


@pytest.mark.parametrize(
    "trouble", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.Response(503), httpx.Response(502)]
)
async def test_short_trouble_is_bridged(trouble: httpx.Response | Exception) -> None:
    store, seen = store_answering(trouble, trouble, OK)
    assert await store.model_credential("e", "openai") == ModelCredential(provider="openai", api_key="k")
    assert len(seen) == 3


@pytest.mark.parametrize("trouble", [httpx.ConnectError("x"), httpx.Response(503)])
async def test_long_trouble_is_transient_and_bounded(trouble: httpx.Response | Exception) -> None:
    store, seen = store_answering(trouble)
    with pytest.raises(StoreError) as error:
        await store.model_credential("e", "openai")
    assert type(error.value) is StoreError
    assert len(seen) == 3


@pytest.mark.parametrize(
    "answer", [httpx.Response(500), httpx.Response(200, text="<html>"), httpx.Response(200, json=[])]
)
async def test_nonsense_is_transient(answer: httpx.Response) -> None:
    store, _ = store_answering(answer)
    with pytest.raises(StoreError) as error:
        await store.model_credential("e", "openai")
    assert type(error.value) is StoreError


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_refusals_are_for_good(status: int) -> None:
    document = {"code": "some_code", "detail": "tenant text"}
    store, seen = store_answering(httpx.Response(status, json=document))
    with pytest.raises(RejectedError) as error:
        await store.model_credential("e", "openai")
    assert "tenant" not in str(error.value)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("status", "document", "kind"),
    [
        (409, {"code": "lease_held", "retry_after": 2.5}, LeaseHeldError),
        (409, {"code": "stale_lease"}, StaleLeaseError),
        (410, {"code": "execution_ended", "status": 410, "execution_status": "cancelled"}, ExecutionEndedError),
        (410, {"code": "execution_ended", "status": "cancelled"}, ExecutionEndedError),
    ],
)
async def test_codes_become_exceptions(status: int, document: dict[str, object], kind: type[StoreError]) -> None:
    store, _ = store_answering(httpx.Response(status, json=document))
    with pytest.raises(StoreError) as error:
        await store.lease("e", request())
    assert type(error.value) is kind
    if isinstance(error.value, LeaseHeldError):
        assert error.value.retry_after == 2.5
    if isinstance(error.value, ExecutionEndedError):
        assert error.value.status == "cancelled"


async def test_ids_are_one_segment_of_the_path() -> None:
    store, seen = store_answering(OK)
    await store.model_credential("manual__2026-01-01T00:00:00+00:00/../x", "openai")
    raw = seen[0].url.raw_path.decode()
    assert raw.count("/") == len(["", "runtime", "v1", "executions", "X", "credentials", "models", "openai"]) - 1
    assert "manual__2026-01-01T00:00:00+00:00/../x" in unquote(raw)


async def test_token_is_sent_and_never_shown() -> None:
    assert TOKEN not in repr(SETTINGS)
    store, seen = store_answering(OK)
    await store.model_credential("e", "openai")
    assert seen[0].headers["authorization"] == f"Bearer {TOKEN}"


class TestSettings:
    def test_complete(self) -> None:
        values = {"AGENT_FACTORY_API_URL": "http://x:1/", "AGENT_FACTORY_RUNTIME_TOKEN": "t"}
        assert runtime_settings(values) == RuntimeSettings("http://x:1", "t")

    @pytest.mark.parametrize("missing", ["AGENT_FACTORY_API_URL", "AGENT_FACTORY_RUNTIME_TOKEN"])
    def test_missing_is_named(self, missing: str) -> None:
        values = {"AGENT_FACTORY_API_URL": "http://x", "AGENT_FACTORY_RUNTIME_TOKEN": "t", missing: ""}
        with pytest.raises(SettingsError, match=missing):
            runtime_settings(values)

    def test_no_url(self) -> None:
        with pytest.raises(SettingsError, match="AGENT_FACTORY_API_URL"):
            runtime_settings({"AGENT_FACTORY_API_URL": "x:1", "AGENT_FACTORY_RUNTIME_TOKEN": "t"})


async def test_an_adopted_run_is_called_by_its_executions_id_after_the_lease() -> None:
    grant = {
        "token": 1, "ttl_seconds": 10, "heartbeat_seconds": 3, "epoch": 0,
        "execution": {"id": "own-id", "workflow_id": "flow", "version": 1, "started_at": "2026-11-24T09:00:00Z"},
    }  # fmt: skip
    store, seen = store_answering(httpx.Response(200, json=grant), OK, httpx.Response(200, json=grant))
    run_id = "manual__2026-11-24T09:00:00+00:00"
    await store.lease(run_id, request())
    await store.model_credential(run_id, "openai")
    await store.lease(run_id, request())
    quoted = "manual__2026-11-24T09%3A00%3A00%2B00%3A00"
    assert [request.url.raw_path.decode() for request in seen] == [
        f"/runtime/v1/executions/{quoted}/lease",
        "/runtime/v1/executions/own-id/credentials/models/openai",
        f"/runtime/v1/executions/{quoted}/lease",
    ]
