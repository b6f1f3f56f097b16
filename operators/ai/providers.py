"""Model providers over HTTP: OpenAI (and every compatible server) and Anthropic, through pydantic-ai.

The SDKs take seconds to import, so that happens at the first call, in a thread: heartbeats go on meanwhile.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from operators.ai.inference import Answer, InferenceRequest, Message
from operators.ai.prices import usage_of
from operators.ai.resolve import ModelChoice
from operators.execution.records import ModelCredential
from operators.steps.base import StepFailedError

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI
    from pydantic_ai.messages import ModelMessage, ModelResponse
    from pydantic_ai.models import Model, ModelRequestParameters
    from pydantic_ai.settings import ModelSettings

OUTPUT_TOOL = "final_result"
ANTHROPIC_MAX_TOKENS = 4096
"""Anthropic's API asks for a limit; this one where the workflow names none."""
RETRYABLE_STATUS = frozenset({408, 429})
CALL_TIMEOUT_SECONDS = 600.0
"""The longest wait for one answer; a step's ``timeout`` ends it earlier."""


@dataclass(slots=True)
class _Connection:
    client: AsyncOpenAI | AsyncAnthropic
    credential: ModelCredential


class ModelPool:
    """The provider clients of a run: one per credential, so that parallel steps share connections."""

    def __init__(self) -> None:
        self._connections: dict[tuple[str, str | None, str | None], _Connection] = {}

    async def call(self, request: InferenceRequest, choice: ModelChoice, credential: ModelCredential) -> Answer:
        """Make exactly one request.

        :raises StepFailedError: ``model_error``, without the key in its message.
        """
        await asyncio.to_thread(load_sdk, choice.provider)
        from pydantic_ai.exceptions import AgentRunError, UserError

        try:
            response = await self._model(choice, credential).request(
                _conversation(request), _settings(request, choice), _parameters(request)
            )
        except (AgentRunError, UserError) as error:
            raise _failure(error, choice, credential) from None
        return _answer(response, choice)

    def _model(self, choice: ModelChoice, credential: ModelCredential) -> Model:
        key = (choice.provider, credential.api_key, credential.base_url)
        if key not in self._connections:
            self._connections[key] = _Connection(_client(choice.provider, credential), credential)
        client: Any = self._connections[key].client
        if choice.provider == "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(choice.model, provider=AnthropicProvider(anthropic_client=client))
        from pydantic_ai.models.openai import OpenAIChatModel
        from pydantic_ai.providers.openai import OpenAIProvider

        return OpenAIChatModel(choice.model, provider=OpenAIProvider(openai_client=client))

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            await connection.client.close()
        self._connections.clear()


def load_sdk(provider: str) -> None:
    """Import a provider's SDK; a long-lived process may do that before it forks."""
    import genai_prices  # noqa: F401

    if provider == "anthropic":
        import pydantic_ai.models.anthropic
        import pydantic_ai.providers.anthropic
    else:
        import pydantic_ai.models.openai
        import pydantic_ai.providers.openai  # noqa: F401


def _client(provider: str, credential: ModelCredential) -> AsyncOpenAI | AsyncAnthropic:
    # Retries are the step's, so that they are counted once.
    if provider == "anthropic":
        import anthropic

        return anthropic.AsyncAnthropic(
            api_key=credential.api_key,
            base_url=credential.base_url or "https://api.anthropic.com",
            max_retries=0,
            timeout=CALL_TIMEOUT_SECONDS,
        )
    import openai

    return openai.AsyncOpenAI(
        api_key=credential.api_key,
        base_url=credential.base_url or "https://api.openai.com/v1",
        max_retries=0,
        timeout=CALL_TIMEOUT_SECONDS,
    )


def _conversation(request: InferenceRequest) -> list[ModelMessage]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart

    conversation: list[ModelMessage] = []
    system = [Message("system", request.system)] if request.system is not None else []
    for message in [*system, *request.messages]:
        if message.role == "assistant":
            conversation.append(ModelResponse(parts=[TextPart(message.content)]))
        else:
            conversation.append(ModelRequest(parts=[_part(message)]))
    return conversation


def _part(message: Message) -> Any:
    from pydantic_ai.messages import SystemPromptPart, UserPromptPart

    return SystemPromptPart(message.content) if message.role == "system" else UserPromptPart(message.content)


def _settings(request: InferenceRequest, choice: ModelChoice) -> ModelSettings:
    settings: ModelSettings = {}
    if request.max_tokens is not None:
        settings["max_tokens"] = request.max_tokens
    elif choice.provider == "anthropic":
        settings["max_tokens"] = ANTHROPIC_MAX_TOKENS
    if request.temperature is not None:
        settings["temperature"] = request.temperature
    return settings


def _parameters(request: InferenceRequest) -> ModelRequestParameters:
    """Ask for the schema as the arguments of one tool: every model of these providers can do that, old ones too."""
    from pydantic_ai.models import ModelRequestParameters
    from pydantic_ai.tools import ToolDefinition

    if request.output_schema is None:
        return ModelRequestParameters()
    tool = ToolDefinition(
        name=OUTPUT_TOOL,
        description="Give the final result.",
        parameters_json_schema=request.output_schema,
        kind="output",
    )
    return ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)


def _answer(response: ModelResponse, choice: ModelChoice) -> Answer:
    from pydantic_ai.messages import TextPart, ToolCallPart

    usage = usage_of(response, choice)
    text = "".join(part.content for part in response.parts if isinstance(part, TextPart))
    for part in response.parts:
        if isinstance(part, ToolCallPart) and part.tool_name == OUTPUT_TOOL:
            arguments = part.args if part.args is not None else {}
            if isinstance(arguments, str):
                return Answer(text=arguments, value=None, has_value=False, usage=usage)
            return Answer(text=text, value=cast(dict[str, Any], arguments), has_value=True, usage=usage)
    return Answer(text=text, value=None, has_value=False, usage=usage)


def _failure(error: Exception, choice: ModelChoice, credential: ModelCredential) -> StepFailedError:
    """Say what went wrong with a call, and whether another attempt can help."""
    from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, ModelQuotaExceededError

    name = f"{choice.provider}:{choice.model}"
    if isinstance(error, ModelHTTPError):
        status = error.status_code
        retryable = (status in RETRYABLE_STATUS or status >= 500) and not isinstance(error, ModelQuotaExceededError)
        message = f"{name} answered HTTP {status}{_reason(status, error.body)}"
    elif isinstance(error, ModelAPIError):
        retryable, message = True, f"{name} could not be reached or broke off: {type(error).__name__}"
    else:
        retryable, message = True, f"{name} gave an answer that cannot be read: {type(error).__name__}"
    return StepFailedError("model_error", scrubbed(message, credential), retryable=retryable)


def _reason(status: int, body: object) -> str:
    """Return the provider's own sentence; not for a refused key, which some providers repeat."""
    if status in (401, 403):
        return ": it refused the API key. Check the organisation's credential for this provider"
    sentence = body.get("message") if isinstance(body, dict) else None
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        sentence = body["error"].get("message")
    return f": {sentence[:300]}" if isinstance(sentence, str) else ""


def scrubbed(message: str, credential: ModelCredential) -> str:
    """Return a message without the key, and without anything that looks like one."""
    if credential.api_key:
        message = message.replace(credential.api_key, "[key]")
    return re.sub(r"\bsk-[\w*-]{3,}", "[key]", message)
