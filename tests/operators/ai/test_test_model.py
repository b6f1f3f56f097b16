"""The built-in test model and the choice of a provider."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from operators.ai.inference import InferenceRequest, Message, infer
from operators.ai.resolve import ModelChoice, resolve_model
from operators.execution.records import ModelCredential
from operators.steps.base import StepFailedError, StepServices

pytestmark = pytest.mark.unit

INTENT = {"type": "object", "properties": {"intent": {"type": "string", "examples": ["billing", "technical"]}}}


async def no_key(provider: str) -> ModelCredential:
    return ModelCredential(provider=provider)


async def ask(prompt: str, schema: Any = None, *, model: str = "gpt-4") -> Any:
    request = InferenceRequest(model=model, messages=(Message("user", prompt),), output_schema=schema)
    return (await infer(request, StepServices(credentials=no_key))).output


class TestSuggestions:
    @pytest.mark.parametrize(
        ("prompt", "intent"),
        [
            ("I have a billing question", "billing"),
            ("BILLING!", "billing"),
            ("technical, not billing", "technical"),
            ("rebillings and technicalities", "other"),
            ("hello", "other"),
            ("", "other"),
        ],
    )
    async def test_word_of_the_prompt(self, prompt: str, intent: str) -> None:
        assert await ask(prompt, INTENT) == {"intent": intent}

    async def test_the_longer_of_two_at_one_place(self) -> None:
        schema = {"type": "object", "properties": {"x": {"examples": ["new", "new york"]}}}
        assert await ask("in New York", schema) == {"x": "new york"}

    async def test_enum(self) -> None:
        schema = {"type": "object", "properties": {"x": {"enum": ["red", "green"]}}}
        assert await ask("green please", schema) == {"x": "green"}
        assert await ask("hello", schema) == {"x": "green"}

    async def test_only_the_last_message_counts(self) -> None:
        messages = (Message("user", "billing"), Message("assistant", "?"), Message("user", "technical"))
        request = InferenceRequest(model="gpt-4", messages=messages, output_schema=INTENT)  # type: ignore[arg-type]
        assert (await infer(request, StepServices(credentials=no_key))).output == {"intent": "technical"}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "number"}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "number", "exclusiveMinimum": 1}, 2),
        ({"type": "integer", "minimum": 1, "multipleOf": 5}, 5),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": "array"}, []),
        ({"type": "array", "minItems": 2, "items": {"type": "integer"}}, [0, 0]),
        ({"type": "object"}, {}),
        ({"type": ["null", "string"]}, "other"),
        ({"type": "string", "minLength": 7}, "other.."),
        ({"type": "string", "maxLength": 3}, "oth"),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"default": 5}, 5),
        ({}, "other"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"$ref": "#/$defs/n"}, 0),
        ({"properties": {"b": {"type": "boolean"}}}, {"b": False}),
        (True, "other"),
    ],
)
async def test_simple_schemas(schema: Any, value: Any) -> None:
    whole = {"type": "object", "properties": {"x": schema}, "required": ["x"], "$defs": {"n": {"type": "integer"}}}
    assert await ask("hello", whole) == {"x": value}


async def test_a_schema_that_contains_itself() -> None:
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    assert isinstance(await ask("hello", schema), dict)


async def test_a_required_property_without_a_schema() -> None:
    assert await ask("hello", {"type": "object", "required": ["x"]}) == {"x": "other"}


async def test_an_answer_it_cannot_make_fails_like_any_models() -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^[0-9]+$"}}}
    with pytest.raises(StepFailedError) as failure:
        await ask("hello", schema)
    assert failure.value.code == "invalid_output"


async def test_text_says_who_it_is_and_echoes() -> None:
    answer = await ask("Please " + "x" * 500)
    assert answer["text"].startswith("[test model] Please xxx")
    assert len(answer["text"]) < 120


async def test_usage_is_free_and_says_so() -> None:
    request = InferenceRequest(model="gpt-4", messages=(Message("user", "one two"),), system="three")
    usage = (await infer(request, StepServices(credentials=no_key))).usage
    assert (usage.provider, usage.model, usage.input_tokens, usage.cost_usd) == ("test", "gpt-4", 3, 0)


KINDS = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number", "minimum": 2},
        {"type": "boolean"},
        {"type": "array", "items": {"type": "string"}, "minItems": 1},
        {"enum": ["a", 1]},
        {"type": "object", "properties": {"y": {"type": "integer"}}, "required": ["y"]},
    ]
)


@given(st.dictionaries(st.sampled_from("abcdef"), KINDS), st.text())
async def test_answers_match_simple_schemas(properties: dict[str, Any], prompt: str) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    first = await ask(prompt, schema)
    assert Draft202012Validator(schema).is_valid(first)
    assert await ask(prompt, schema) == first


class TestResolving:
    @pytest.mark.parametrize(
        ("name", "provider", "model"),
        [
            ("gpt-4", "openai", "gpt-4"),
            ("gpt-4o-mini", "openai", "gpt-4o-mini"),
            ("chatgpt-4o-latest", "openai", "chatgpt-4o-latest"),
            ("o1", "openai", "o1"),
            ("o3-mini", "openai", "o3-mini"),
            ("claude-sonnet-4-5", "anthropic", "claude-sonnet-4-5"),
            ("openai:gemma3", "openai", "gemma3"),
            ("openai:ft:gpt-4:org", "openai", "ft:gpt-4:org"),
            ("anthropic:x", "anthropic", "x"),
            ("test", "test", "test"),
            ("test:x", "test", "x"),
        ],
    )
    def test_known(self, name: str, provider: str, model: str) -> None:
        assert resolve_model(name) == ModelChoice(provider, model)

    @pytest.mark.parametrize("name", ["", "llama", "opus", "mistral:large", "openai:", "GPT-4", "on"])
    def test_unknown(self, name: str) -> None:
        with pytest.raises(StepFailedError) as failure:
            resolve_model(name)
        assert failure.value.code == "invalid_config"
        assert not failure.value.retryable
        assert repr(name) in failure.value.message
        assert "openai:" in failure.value.message

    async def test_the_test_provider_needs_no_credential(self) -> None:
        async def refuse(provider: str) -> ModelCredential:
            raise AssertionError(provider)

        request = InferenceRequest(model="test", messages=(Message("user", "x"),))
        assert (await infer(request, StepServices(credentials=refuse))).usage.provider == "test"


def test_the_test_model_imports_no_sdk() -> None:
    import subprocess
    import sys

    code = (
        "import asyncio, sys\n"
        "from operators.execution.local import run_plan\n"
        "from tests.operators.execution.plans import *\n"
        "result = asyncio.run(run_plan(plan_of(model_step('a')), input=None))\n"
        "assert result.status == 'success'\n"
        "assert not {'pydantic_ai', 'openai', 'anthropic', 'genai_prices', 'airflow', 'fastapi'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=_root())
    assert done.returncode == 0, done.stderr


def _root() -> str:
    from pathlib import Path

    return str(Path(__file__).parents[3])
