"""``ai_inference``: one call of a language model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from compiler.fields import FormatModel, Json
from compiler.steps.base import NumberOrExpression, Single, StepConfig, numbers_by_expression, require_one_of


class Message(FormatModel):
    """A message of the conversation the model is shown."""

    role: Literal["system", "user", "assistant"]
    content: str


class AIInferenceConfig(StepConfig):
    """Config of ``ai_inference``. Output: the object where a schema is given or inferred, else ``{text}``."""

    available: ClassVar[bool] = True
    unavailable: ClassVar[tuple[str, ...]] = ("route",)
    verbatim: ClassVar[frozenset[str]] = frozenset({"output_schema"})

    model: str | None = Field(default=None, min_length=1, description="For example gpt-4 or anthropic:claude-sonnet-4.")
    route: str | None = Field(default=None, min_length=1)
    prompt: str | None = None
    messages: list[Message] | None = Field(default=None, min_length=1)
    system: str | None = None
    max_tokens: Annotated[Json, NumberOrExpression("integer", 1, 10_000_000)] = None
    temperature: Annotated[Json, NumberOrExpression("number", 0, 2)] = None
    output_schema: dict[str, Json] | None = Field(default=None, description="JSON Schema of an object.")

    @model_validator(mode="after")
    def _check(self) -> AIInferenceConfig:
        require_one_of(self, "model", "route")
        require_one_of(self, "prompt", "messages")
        return self

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield the numbers that are given by an expression."""
        yield from numbers_by_expression(config, "max_tokens", "temperature")
