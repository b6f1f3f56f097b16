"""The light step types: what they render, what they yield, how they fail."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from compiler.expressions import EvaluationError
from operators.execution.records import ModelCredential
from operators.steps.base import StepFailedError, StepKey, StepResult, StepServices
from operators.steps.registry import HANDLERS
from tests.operators.execution.plans import step

pytestmark = pytest.mark.unit


async def no_key(provider: str) -> ModelCredential:
    return ModelCredential(provider=provider)


async def run(type: str, config: dict[str, Any], **scope: Any) -> StepResult:
    handler = HANDLERS[type]
    request = handler.render(step("x", type=type, config=config), scope)
    return await handler.call(request, StepServices(credentials=no_key), StepKey("an-execution", 0, "x"))


class TestConditional:
    CONFIG: ClassVar[dict[str, Any]] = {
        "conditions": [{"if": "{{ input.n > 10 }}", "then": "big"}, {"if": "{{ input.n > 5 }}", "then": "middle"}],
        "default": "small",
    }

    @pytest.mark.parametrize(("n", "branch"), [(11, "big"), (6, "middle"), (1, "small")])
    async def test_the_first_true_one_wins(self, n: int, branch: str) -> None:
        assert (await run("conditional", self.CONFIG, input={"n": n})).output == {"branch": branch}

    async def test_none_and_no_default(self) -> None:
        config = {"conditions": self.CONFIG["conditions"]}
        assert (await run("conditional", config, input={"n": 0})).output == {"branch": None}

    @pytest.mark.parametrize(("value", "branch"), [(0, None), ("", None), ([], None), ("false", "a"), ([0], "a")])
    async def test_truth_is_pythons(self, value: Any, branch: str | None) -> None:
        config = {"conditions": [{"if": "{{ input }}", "then": "a"}]}
        assert (await run("conditional", config, input=value)).output == {"branch": branch}

    async def test_conditions_after_the_true_one_are_not_looked_at(self) -> None:
        config = {"conditions": [{"if": "{{ true }}", "then": "a"}, {"if": "{{ input.missing }}", "then": "b"}]}
        assert (await run("conditional", config, input={})).output == {"branch": "a"}

    async def test_an_error_is_the_steps(self) -> None:
        with pytest.raises(EvaluationError):
            await run("conditional", self.CONFIG, input={})


class TestTransform:
    async def test_set_keeps_types(self) -> None:
        config = {"set": {"n": "{{ input.n }}", "text": "n is {{ input.n }}", "deep": [{"x": "{{ input.n + 1 }}"}]}}
        assert (await run("transform", config, input={"n": 2})).output == {
            "n": 2,
            "text": "n is 2",
            "deep": [{"x": 3}],
        }

    @pytest.mark.parametrize(
        ("path", "values"),
        [("$.items[*].id", [1, 2]), ("$.items[?@.id > 1].id", [2]), ("$.nothing", []), ("$", None), ("$..id", [1, 2])],
    )
    async def test_jsonpath(self, path: str, values: list[Any] | None) -> None:
        value = {"items": [{"id": 1}, {"id": 2}]}
        output = (await run("transform", {"from": "{{ input }}", "jsonpath": path}, input=value)).output
        assert output == {"values": [value] if values is None else values}

    @pytest.mark.parametrize("value", ['{"a": 1}', "text", 5, None, True])
    async def test_a_value_that_is_no_container(self, value: Any) -> None:
        config = {"from": "{{ input }}", "jsonpath": "$.a"}
        assert (await run("transform", config, input=value)).output == {"values": []}
        config = {"from": "{{ input }}", "jsonpath": "$"}
        assert (await run("transform", config, input=value)).output == {"values": [value]}

    async def test_no_jsonpath(self) -> None:
        with pytest.raises(StepFailedError) as failure:
            await run("transform", {"from": "{{ input }}", "jsonpath": "$["}, input={})
        assert failure.value.code == "invalid_config"
        assert not failure.value.retryable

    async def test_a_jsonpath_that_asks_for_too_much(self) -> None:
        nested: Any = 1
        for _ in range(24):
            nested = [nested]
        with pytest.raises(StepFailedError, match="may take 250,000 steps") as failure:
            await run("transform", {"from": "{{ input }}", "jsonpath": "$" + "..*" * 8}, input=nested)
        assert failure.value.code == "limit_exceeded"
        assert not failure.value.retryable


class TestRespond:
    async def test_defaults(self) -> None:
        result = await run("respond", {"body": {"n": "{{ input }}"}}, input=1)
        assert result.output == {"status": 200, "headers": {}, "body": {"n": 1}}
        assert result.answer is not None
        assert result.answer.model_dump() == result.output

    async def test_everything_rendered(self) -> None:
        config = {"status": "{{ input.s }}", "headers": {"x-a": "{{ input.h }}"}, "body": "{{ input.h }}!"}
        result = await run("respond", config, input={"s": 404, "h": 7})
        assert result.output == {"status": 404, "headers": {"x-a": "7"}, "body": "7!"}

    @pytest.mark.parametrize("status", [99, 600, 1.5, True, "x", None, [200]])
    async def test_no_status(self, status: Any) -> None:
        config = {"status": "{{ input }}", "body": 1}
        if status is None:
            assert (await run("respond", config, input=None)).answer is not None
            return
        with pytest.raises(StepFailedError, match="`status`"):
            await run("respond", config, input=status)

    @pytest.mark.parametrize("value", ["a\r\nset-cookie: x", "a\nb", "a\0"])
    async def test_a_header_cannot_start_another(self, value: str) -> None:
        with pytest.raises(StepFailedError, match="`headers`"):
            await run("respond", {"headers": {"x-a": "{{ input }}"}, "body": 1}, input=value)


class TestAiInference:
    async def test_prompt_is_rendered(self) -> None:
        result = await run("ai_inference", {"model": "gpt-4", "prompt": "Say {{ input }}"}, input="hi")
        assert result.output == {"text": "[test model] Say hi"}
        assert len(result.usage) == 1

    async def test_the_schema_is_not_rendered(self) -> None:
        schema = {"type": "object", "properties": {"a": {"const": "{{ input }}"}}}
        config = {"model": "gpt-4", "prompt": "x", "output_schema": schema}
        assert (await run("ai_inference", config, input="hi")).output == {"a": "{{ input }}"}

    async def test_messages_and_settings(self) -> None:
        config = {
            "model": "{{ input.model }}",
            "messages": [{"role": "user", "content": "{{ input.n }}"}],
            "system": "s{{ input.n }}",
            "max_tokens": "{{ input.n }}",
            "temperature": 0.5,
        }
        handler = HANDLERS["ai_inference"]
        request = handler.render(step("x", config=config), {"input": {"model": "gpt-4", "n": 5}})
        assert (request.model, request.system, request.max_tokens, request.temperature) == ("gpt-4", "s5", 5, 0.5)
        assert [(message.role, message.content) for message in request.messages] == [("user", "5")]

    @pytest.mark.parametrize("max_tokens", [0, -1, 1.5, True, "x", [1]])
    async def test_no_max_tokens(self, max_tokens: Any) -> None:
        config = {"model": "gpt-4", "prompt": "x", "max_tokens": "{{ input }}"}
        with pytest.raises(StepFailedError, match="`max_tokens`"):
            await run("ai_inference", config, input=max_tokens)

    async def test_unknown_model(self) -> None:
        with pytest.raises(StepFailedError, match="`model`"):
            await run("ai_inference", {"model": "{{ input }}", "prompt": "x"}, input="foo")

    async def test_a_prompt_that_is_null_is_text(self) -> None:
        result = await run("ai_inference", {"model": "gpt-4", "prompt": "{{ input }}"}, input=None)
        assert result.output == {"text": "[test model] null"}
