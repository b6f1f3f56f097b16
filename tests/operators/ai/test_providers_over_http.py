"""Model calls against a wire-true stub of the providers, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from operators.ai.inference import InferenceRequest, Message, infer
from operators.execution.records import ModelCredential
from operators.steps.base import StepFailedError, StepServices
from tests.stubs.model_server import ModelServer

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:The model .* is deprecated")]

KEY = "sk-secret-key-0123456789"
INTENT = {"type": "object", "properties": {"intent": {"type": "string"}}, "required": ["intent"]}


@pytest.fixture
async def services(model_server: ModelServer) -> AsyncIterator[StepServices]:
    async def credential(provider: str) -> ModelCredential:
        url = model_server.openai_url if provider == "openai" else model_server.anthropic_url
        return ModelCredential(provider=provider, api_key=KEY, base_url=url)

    services = StepServices(credentials=credential)
    yield services
    await services.close()


def request(model: str = "gpt-4", **settings: Any) -> InferenceRequest:
    return InferenceRequest(model=model, messages=(Message("user", "Hello billing"),), **settings)


MODELS = pytest.mark.parametrize("model", ["gpt-4", "claude-sonnet-4-5"])


@MODELS
async def test_text_answer_with_tokens_and_price(model: str, services: StepServices, model_server: ModelServer) -> None:
    result = await infer(request(model), services)
    assert result.output == {"text": "stub answer to: Hello billing"}
    assert (result.usage.input_tokens, result.usage.output_tokens) == (11, 7)
    rates = {"gpt-4": (30, 60), "claude-sonnet-4-5": (3, 15)}[model]
    assert result.usage.cost_usd == pytest.approx((11 * rates[0] + 7 * rates[1]) / 1e6)
    assert result.usage.price is not None
    assert str(result.usage.price["source"]).startswith("genai-prices")
    assert len(model_server.calls) == 1


@MODELS
async def test_schema_is_asked_for_and_its_object_returned(
    model: str, services: StepServices, model_server: ModelServer
) -> None:
    result = await infer(request(model, output_schema=INTENT), services)
    assert result.output == {"intent": "other"}
    assert len(model_server.calls) == 1
    tool = model_server.calls[0]["body"]["tools"][0]
    schema = tool["input_schema"] if model.startswith("claude") else tool["function"]["parameters"]
    assert list(schema["properties"]) == ["intent"]


@MODELS
async def test_json_text_where_a_tool_call_was_asked_for(
    model: str, services: StepServices, model_server: ModelServer
) -> None:
    model_server.answer = '```json\n{"intent": "sales"}\n```'
    assert (await infer(request(model, output_schema=INTENT), services)).output == {"intent": "sales"}


@MODELS
@pytest.mark.parametrize("answer", [{"other": 1}, "no json", {"intent": 7}])
async def test_answer_that_breaks_the_schema(
    model: str, answer: Any, services: StepServices, model_server: ModelServer
) -> None:
    model_server.answer = answer
    with pytest.raises(StepFailedError) as failure:
        await infer(request(model, output_schema=INTENT), services)
    assert failure.value.code == "invalid_output"
    assert failure.value.retryable
    assert [usage.input_tokens for usage in failure.value.usage] == [11]


async def test_settings_and_messages_reach_openai(services: StepServices, model_server: ModelServer) -> None:
    conversation = (Message("system", "be kind"), Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    await infer(
        InferenceRequest(model="gpt-4", messages=conversation, system="first", max_tokens=100, temperature=0.5),
        services,
    )
    body = model_server.calls[0]["body"]
    assert body["max_completion_tokens"] == 100
    assert body["temperature"] == 0.5
    said = [(item["role"], item["content"]) for item in body["messages"]]
    assert said == [("system", "first"), ("system", "be kind"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    assert model_server.calls[0]["headers"]["authorization"] == f"Bearer {KEY}"


async def test_settings_and_messages_reach_anthropic(services: StepServices, model_server: ModelServer) -> None:
    conversation = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    await infer(
        InferenceRequest(model="claude-sonnet-4-5", messages=conversation, system="first", max_tokens=100), services
    )
    body = model_server.calls[0]["body"]
    assert body["max_tokens"] == 100
    assert [item["role"] for item in body["messages"]] == ["user", "assistant", "user"]
    assert "first" in str(body["system"])
    headers = model_server.calls[0]["headers"]
    assert KEY in (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer "))


@MODELS
@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, False),
        (401, False),
        (403, False),
        (404, False),
        (422, False),
        (408, True),
        (429, True),
        (500, True),
        (503, True),
    ],
)
async def test_http_errors(
    model: str, status: int, retryable: bool, services: StepServices, model_server: ModelServer
) -> None:
    model_server.failures = [status]
    with pytest.raises(StepFailedError) as failure:
        await infer(request(model), services)
    assert failure.value.code == "model_error"
    assert failure.value.retryable is retryable
    assert str(status) in failure.value.message
    # The stub repeats the key in its message, as real providers do.
    assert KEY not in failure.value.message
    assert "secret" not in failure.value.message
    assert len(model_server.calls) == 1


async def test_no_server(services: StepServices) -> None:
    async def credential(provider: str) -> ModelCredential:
        return ModelCredential(provider=provider, api_key=KEY, base_url="http://127.0.0.1:9/v1")

    services.credentials = credential
    with pytest.raises(StepFailedError) as failure:
        await infer(request(), services)
    assert failure.value.code == "model_error"
    assert failure.value.retryable
    assert KEY not in failure.value.message


@MODELS
async def test_garbage_instead_of_an_answer(model: str, services: StepServices, model_server: ModelServer) -> None:
    model_server.garbage = True
    with pytest.raises(StepFailedError) as failure:
        await infer(request(model), services)
    assert failure.value.code == "model_error"


async def test_unknown_price_is_none_never_zero(services: StepServices) -> None:
    result = await infer(request("openai:gemma3-of-mine"), services)
    assert result.usage.cost_usd is None
    assert result.usage.price is None
    assert result.usage.input_tokens == 11


async def test_parallel_calls_share_one_client(services: StepServices, model_server: ModelServer) -> None:
    results = await asyncio.gather(*(infer(request(), services) for _ in range(5)))
    assert len(results) == len(model_server.calls) == 5
    assert services.models is not None


async def test_without_a_key_no_call_is_made(model_server: ModelServer) -> None:
    async def credential(provider: str) -> ModelCredential:
        return ModelCredential(provider=provider, base_url=model_server.openai_url)

    result = await infer(request(), StepServices(credentials=credential))
    assert result.usage.provider == "test"
    assert model_server.calls == []
