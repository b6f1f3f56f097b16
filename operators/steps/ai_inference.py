"""``ai_inference``: one model call."""

from __future__ import annotations

from typing import Any

from compiler.expressions import render, text_of
from compiler.plan import Step
from operators.ai.inference import InferenceRequest, Message, infer
from operators.steps.base import Scope, StepKey, StepResult, StepServices, config_error

ROLES = ("system", "user", "assistant")


class AiInference:
    """Yields the model's object where there is a schema, else ``{text}``."""

    def render(self, step: Step, scope: Scope) -> InferenceRequest:
        """Evaluate model, prompt or messages, and settings.

        :raises StepFailedError: A message is not ``{role, content}``, or a setting has the wrong type.
        """
        config: dict[str, Any] = {
            name: value if name == "output_schema" else render(value, scope) for name, value in step.config.items()
        }
        if config.get("model") is None:
            raise config_error("an ai_inference must name a `model`; got none. Set `model`, e.g. 'gpt-4'")
        return InferenceRequest(
            model=text_of(config["model"]),
            messages=_messages(config),
            system=None if config.get("system") is None else text_of(config["system"]),
            max_tokens=_number(config, "max_tokens", whole=True),
            temperature=_number(config, "temperature"),
            output_schema=config.get("output_schema"),
        )

    async def call(self, request: InferenceRequest, services: StepServices, key: StepKey) -> StepResult:
        """Call the provider once."""
        result = await infer(request, services)
        return StepResult(result.output, usage=(result.usage,))


def _messages(config: dict[str, Any]) -> tuple[Message, ...]:
    if config.get("messages") is None:
        return (Message("user", text_of(config.get("prompt"))),)
    messages = config["messages"]
    if not isinstance(messages, list) or not messages:
        raise config_error(f"`messages` must be a list with at least one message; got {text_of(messages)[:100]}")
    return tuple(_message(item) for item in messages)


def _message(item: Any) -> Message:
    if not isinstance(item, dict) or item.get("role") not in ROLES or "content" not in item:
        raise config_error(f"a message must be {{role: {' | '.join(ROLES)}, content}}; got {text_of(item)[:100]}")
    return Message(item["role"], text_of(item["content"]))


def _number(config: dict[str, Any], name: str, *, whole: bool = False) -> Any:
    """Return a numeric setting, also one an expression gave as text; None where it is not set."""
    value = config.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if whole and (number != int(number) or number < 1):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        kind = "a whole number of at least 1" if whole else "a number"
        raise config_error(f"`{name}` must be {kind}; got {text_of(value)[:100]}") from None
    return int(number) if whole else number
