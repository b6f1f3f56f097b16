"""What every step type gives the runner: a pure ``render`` and an asynchronous ``call``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import JsonValue

from compiler.plan import Step
from operators.execution.records import (
    ApprovalRequest,
    ApprovalState,
    ChildRequest,
    ChildState,
    ModelCredential,
    PodTiming,
    Usage,
    WebhookAnswer,
)

if TYPE_CHECKING:
    from operators.ai.providers import ModelPool
    from operators.egress import EgressClient
    from operators.pods.pool import PodPool
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
    """What a successful attempt yields: the step's output, model usage, an answer for the webhook caller, and where the
    time of a pod went."""

    output: JsonValue
    usage: tuple[Usage, ...] = ()
    answer: WebhookAnswer | None = None
    timing: PodTiming | None = None


class Credentials(Protocol):
    """Gives the key of a model provider."""

    async def __call__(self, provider: str) -> ModelCredential:
        """Return the credential; ``api_key`` None means that the built-in test model answers."""
        ...


class Approvals(Protocol):
    """Asks people for decisions."""

    async def __call__(self, key: StepKey, request: ApprovalRequest) -> ApprovalState:
        """Ask, if that has not been done yet, and answer how it stands.

        :raises StepFailedError: There is nobody to ask.
        """
        ...


StartChild = Callable[[ChildRequest], Awaitable[ChildState]]
CancelChild = Callable[[str], Awaitable[None]]


async def _no_child(request: ChildRequest) -> ChildState:
    raise StepFailedError("unknown_workflow", "no other workflow can be called here", retryable=False)


async def _no_cancel(child_id: str) -> None:
    return


class EventEmitter(Protocol):
    """Raises events in the execution's organisation."""

    async def __call__(self, key: StepKey, event_type: str, data: JsonValue) -> str:
        """Raise an event and return its id; the same key again raises nothing new.

        :raises StepFailedError: ``depth_exceeded``, or the event was refused.
        """
        ...


@dataclass(slots=True)
class StepServices:
    """What calls may use beyond their request.

    :param credentials: Keys of model providers.
    :param approvals: Decisions of people; None where there are none.
    :param start_child: Starts an execution of another workflow, once a key.
    :param cancel_child: Cancels one by its id.
    :param emit: Raises events; None where there is nobody to tell.
    :param models: Connections to model providers, opened at the first use and shared by the steps of a run.
    :param egress: The guarded client for addresses that a workflow names; as ``models``.
    :param sandbox: Child processes for code, started at the first use.
    :param pods: Pods for tenant code; None where there is no Kubernetes.
    """

    credentials: Credentials
    approvals: Approvals | None = None
    start_child: StartChild = _no_child
    cancel_child: CancelChild = _no_cancel
    emit: EventEmitter | None = None
    models: ModelPool | None = field(default=None)
    egress: EgressClient | None = field(default=None)
    sandbox: Sandbox | None = field(default=None)
    pods: PodPool | None = field(default=None)

    async def close(self) -> None:
        """Close what the calls have opened."""
        if self.models is not None:
            await self.models.close()
        if self.egress is not None:
            await self.egress.close()
        if self.sandbox is not None:
            await self.sandbox.close()
        if self.pods is not None:
            await self.pods.close()


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


@dataclass(frozen=True, slots=True)
class PodWatch:
    """A pod that a step waits for.

    :param job: Id of the step's job in it; None: the end of its container is what counts.
    """

    namespace: str
    name: str
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """What a waiting step waits for: a moment, things the control plane will know of, or whichever comes first.

    :param until: When to look again at the latest; None: only when there is news.
    :param awaited: Ids of what is waited for, e.g. child executions; see ``ExecutionStore.watch``. One is enough.
    :param link: Where a person finds what is waited for.
    :param since: When the attempt began, if that is not when the step did; its time-out counts from there.
    :param pods: Pods that it is in; news of one is enough.
    """

    until: datetime | None = None
    awaited: tuple[str, ...] = ()
    link: str | None = None
    since: datetime | None = None
    pods: tuple[PodWatch, ...] = ()


@dataclass(frozen=True, slots=True)
class Waiting:
    """How far a waiting step is: when it began (UTC), and which attempt this is.

    :param life: How often the execution was reopened after a failure: then what failed begins anew.
    """

    key: StepKey
    started_at: datetime
    attempt: int = 1
    life: int = 0

    def __str__(self) -> str:
        """Return what names this attempt, and no other, wherever it is looked at again."""
        return f"{self.key}:{self.life}:{self.attempt}"


@runtime_checkable
class WaitingHandler(Protocol):
    """The behaviour of a step type that waits for something outside, for seconds or for weeks.

    Nothing is kept in memory between two looks: the second may be in another process. So all that ``poll`` causes
    elsewhere is caused once, by the step's key and attempt.
    """

    def render(self, step: Step, scope: Scope) -> Any:
        """Return the request; see :class:`Handler`. It is made anew before each look, from the same journal."""
        ...

    async def poll(self, request: Any, services: StepServices, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Begin the wait if need be, and look: return the result, or what to wait for.

        :raises StepFailedError: The attempt failed.
        """
        ...

    async def abandon(self, request: Any, services: StepServices, waiting: Waiting) -> None:
        """Take back what was begun: nobody waits for it any more. Harmless where nothing was."""
        ...


@runtime_checkable
class JudgingHandler(Protocol):
    """A step type whose answer from outside decides whether the step fails; a stub's answer is judged alike."""

    def judge(self, request: Any, result: StepResult) -> StepResult:
        """Return the result as it is.

        :raises StepFailedError: It means a failure.
        """
        ...


def config_error(message: str) -> StepFailedError:
    """Return the error of a step whose rendered config cannot be used; another attempt never helps."""
    return StepFailedError("invalid_config", message, retryable=False)
