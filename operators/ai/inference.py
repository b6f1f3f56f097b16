"""One model call: resolve the model, call its provider exactly once, check and price the result."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
from pydantic import JsonValue

from operators.ai import test_model
from operators.ai.resolve import ModelChoice, resolve_model
from operators.execution.records import ModelCredential, Usage
from operators.steps.base import StepFailedError, StepServices


@dataclass(frozen=True, slots=True)
class Message:
    """A message of the conversation; ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """A rendered ``ai_inference``: no expressions left."""

    model: str
    messages: tuple[Message, ...]
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    output_schema: dict[str, JsonValue] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered: the text, or the value where the API gave one, and what it used."""

    text: str
    value: JsonValue
    has_value: bool
    usage: Usage


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """The step's output and what it used."""

    output: JsonValue
    usage: Usage


async def infer(request: InferenceRequest, services: StepServices) -> InferenceResult:
    """Call the model once.

    Without a key for the provider the built-in test model answers.

    :raises StepFailedError: ``invalid_config``, ``model_error`` or ``invalid_output``; its usage is what the call cost.
    """
    choice = resolve_model(request.model)
    credential = await _credential(choice, services)
    if credential.api_key is None:
        answer = test_model.answer(request, choice)
    else:
        answer = await _call(request, choice, credential, services)
    if request.output_schema is None:
        return InferenceResult({"text": answer.text}, answer.usage)
    return InferenceResult(_checked(answer, request.output_schema), answer.usage)


async def _credential(choice: ModelChoice, services: StepServices) -> ModelCredential:
    if choice.provider == "test":
        return ModelCredential(provider="test")
    return await services.credentials(choice.provider)


async def _call(
    request: InferenceRequest, choice: ModelChoice, credential: ModelCredential, services: StepServices
) -> Answer:
    from operators.ai.providers import ModelPool

    if services.models is None:
        services.models = ModelPool()
    return await services.models.call(request, choice, credential)


def _checked(answer: Answer, schema: dict[str, JsonValue]) -> JsonValue:
    """Return the answer as a value of the schema.

    :raises StepFailedError: ``invalid_output``: it is no JSON, or does not match. Another try may.
    """
    from referencing.exceptions import Unresolvable

    from compiler.matching import BoundedValidator, UncheckableError

    value = answer.value if answer.has_value else _parsed(answer)
    try:
        found = BoundedValidator(schema).best_mismatch(value)
    except Unresolvable as unresolvable:
        raise StepFailedError(
            "invalid_config",
            f"`output_schema` must not refer outside itself: {unresolvable}",
            retryable=False,
            usage=(answer.usage,),
        ) from None
    except UncheckableError as error:
        raise _invalid_output(f"the model's answer cannot be checked by `output_schema`: {error}", answer) from None
    if found is not None:
        place = "/" + "/".join(map(str, found.path)) if found.path else "the answer"
        raise _invalid_output(f"the model's answer must match `output_schema`; at {place}: {found.message}", answer)
    return value


def _parsed(answer: Answer) -> JsonValue:
    """Read JSON from a model's text, with or without a Markdown fence around it."""
    text = answer.text.strip()
    if text.startswith("```"):
        text = text.partition("\n")[2].rpartition("```")[0]
    try:
        value: JsonValue = orjson.loads(text)
    except ValueError:
        raise _invalid_output(
            f"the model's answer must be JSON that matches `output_schema`; got {answer.text[:200]!r}", answer
        ) from None
    return value


def _invalid_output(message: str, answer: Answer) -> StepFailedError:
    return StepFailedError("invalid_output", message[:1000], retryable=True, usage=(answer.usage,))
