"""What every step type gives the runner: a pure ``render`` and an asynchronous ``call``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue

from compiler.plan import Step
from operators.execution.records import ModelCredential, Usage, WebhookAnswer

if TYPE_CHECKING:
    from operators.ai.providers import ModelPool
    from operators.sandbox.sandbox import Sandbox

Scope = Mapping[str, Any]
"""The names of expressions: ``input``, ``trigger``, ``execution``, ``vars`` and every step id."""


class StepFailedError(Exception):
    """An attempt of a step failed.

    :param code: Stable code, e.g. ``timeout`` or ``model_error``.
    :param message: Rule, got, fix. It may hold tenant text, so it goes to the journal and never to a log.
    :param retryable: Whether another attempt can help.
    :param usage: What the attempt has used up although it failed.
    """

    def __init__(self, code: str, message: str, *, retryable: bool, usage: tuple[Usage, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.usage = usage


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a successful attempt yields: the step's output, model usage, and an answer for the webhook caller."""

    output: JsonValue
    usage: tuple[Usage, ...] = ()
    answer: WebhookAnswer | None = None


class Credentials(Protocol):
    """Gives the key of a model provider."""

    async def __call__(self, provider: str) -> ModelCredential:
        """Return the credential; ``api_key`` None means that the built-in test model answers."""
        ...


@dataclass(slots=True)
class StepServices:
    """What calls may use beyond their request.

    :param credentials: Keys of model providers.
    :param models: Connections to model providers, opened at the first use and shared by the steps of a run.
    :param sandbox: Child processes for code, started at the first use.
    """

    credentials: Credentials
    models: ModelPool | None = field(default=None)
    sandbox: Sandbox | None = field(default=None)

    async def close(self) -> None:
        """Close what the calls have opened."""
        if self.models is not None:
            await self.models.close()
        if self.sandbox is not None:
            await self.sandbox.close()


@dataclass(frozen=True, slots=True)
class StepKey:
    """Names a step of an execution. As text it is the idempotency key of the step's side effects: equal over attempts
    and Airflow's retries, another one when the step is run again on purpose (a higher ``epoch``)."""

    execution_id: str
    epoch: int
    step_id: str

    def __str__(self) -> str:
        return f"{self.execution_id}:{self.epoch}:{self.step_id}"


class Handler(Protocol):
    """The behaviour of one step type.

    ``render`` evaluates every expression of the config and is never retried; it raises
    ``compiler.expressions.EvaluationError`` or :class:`StepFailedError`. ``call`` does the work with what was rendered
    and is what a stub replaces.
    """

    def render(self, step: Step, scope: Scope) -> Any:
        """Return the request: everything ``call`` needs, with no expressions left."""
        ...

    async def call(self, request: Any, services: StepServices, key: StepKey) -> StepResult:
        """Do the step's work once.

        :param key: Identifies the step, so that what it causes elsewhere is caused once.
        :raises StepFailedError: The attempt failed.
        """
        ...


def config_error(message: str) -> StepFailedError:
    """Return the error of a step whose rendered config cannot be used; another attempt never helps."""
    return StepFailedError("invalid_config", message, retryable=False)
