"""One step from its start to its final record: render once, call until it succeeds or no attempt is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from compiler.expressions import EvaluationError
from compiler.plan import Retry, Step
from operators.execution.clock import Clock
from operators.execution.outputs import Outputs
from operators.execution.records import StepError, StepRecord, StoredOutput
from operators.execution.store import StoreError
from operators.execution.stubs import Stubs
from operators.execution.waiting import HaltedWhileWaitingError, ParkedError, Wait, after, earliest
from operators.steps.base import (
    Handler,
    JudgingHandler,
    Scope,
    StepFailedError,
    StepKey,
    StepResult,
    StepServices,
    Waiting,
    WaitingHandler,
)
from operators.steps.registry import HANDLERS, IN_PODS

MAX_ANSWER_BYTES = 10_000_000
"""Of a webhook's answer, which is in the journal itself."""


def backoff(retry: Retry, failed_attempts: int) -> float:
    """Return the wait after the n-th failed attempt, in seconds; there is no jitter."""
    # Beyond 2 ** 1000 a float overflows; the limit was reached long before.
    growth = 2.0 ** min(failed_attempts - 1, 1000)
    return min(retry.max_backoff_seconds, retry.backoff_seconds * growth)


class StepRun:
    """Runs one step.

    :param wait: Lets it wait.
    :param outputs: Keeps what is too large for the journal.
    :param life: How often the execution was reopened.
    :param begun: The journal's record of a step that waited when it was last seen.
    """

    def __init__(
        self,
        step: Step,
        key: StepKey,
        services: StepServices,
        clock: Clock,
        stubs: Stubs,
        *,
        wait: Wait,
        outputs: Outputs,
        life: int = 0,
        begun: StepRecord | None = None,
    ) -> None:
        self.step = step
        self.record = begun.model_copy(deep=True) if begun else StepRecord(id=key.step_id, status="running")
        """Filled in as the step proceeds, so that whoever cuts it off knows how far it came."""
        self._key = key
        self._services = services
        self._clock = clock
        self._stubs = stubs
        self.wait = wait
        self._outputs = outputs
        self._life = life
        self._began = 0.0

    async def run(self, scope: Scope) -> None:
        """Bring the record to ``success`` or ``failed``.

        :raises StoreError: The store failed in the middle of a call; that is no failure of the step.
        :raises ParkedError: It waits, and gives the process back.
        :raises HaltedWhileWaitingError: It waited when the execution came to its end.
        """
        now = self._clock.now()
        self.record.started_at = self.record.started_at or now
        # Never less than nothing: the clock by which it began may have been set back since.
        self._began = self._clock.monotonic() - max(0.0, (now - self.record.started_at).total_seconds())
        try:
            result, stored = await self._attempts(scope)
        except StepFailedError as error:
            self.record.error = StepError(code=error.code, message=_utf8(error.message))
            self.close("failed")
        else:
            self.record.output, self.record.output_ref = result.output, stored
            self.record.answer = result.answer
            self.record.timing = result.timing
            self.close("success")

    def close(self, status: Any) -> None:
        """Write down the end: its status, time and duration (waits between attempts included)."""
        self.record.status = status
        self.record.ended_at = self._clock.now()
        self.record.duration_ms = round((self._clock.monotonic() - self._began) * 1000, 3)

    async def _attempts(self, scope: Scope) -> tuple[StepResult, StoredOutput | None]:
        self.record.attempts = max(1, self.record.attempts)
        self._outputs.check(self.step)
        handler = _handler(self.step)
        request = _rendered(handler, self.step, scope)
        while True:
            try:
                result = await self._attempt(handler, request)
            except StepFailedError as error:
                self.record.usage.extend(error.usage)
                if not error.retryable or self.record.attempts >= self.step.retry.attempts:
                    raise
            else:
                self.record.usage.extend(result.usage)
                stored = await self._outputs.keep(result.output)
                _check_answer(result)
                return result, stored
            if self.record.id not in self._stubs:
                await self._clock.sleep(backoff(self.step.retry, self.record.attempts))
            self.record.attempts += 1

    async def _attempt(self, handler: Handler | WaitingHandler, request: Any) -> StepResult:
        if self.record.id in self._stubs:
            result = self._stubs.call(self.record.id)
            return handler.judge(request, result) if isinstance(handler, JudgingHandler) else result
        try:
            if isinstance(handler, WaitingHandler):
                return await self._wait_for(handler, request)
            return await self._call(handler, request)
        except (StepFailedError, StoreError, ParkedError, HaltedWhileWaitingError):
            raise
        except Exception as error:
            raise internal_error(error) from None

    async def _call(self, handler: Handler, request: Any) -> StepResult:
        try:
            async with asyncio.timeout(self.step.timeout_seconds) as timer:
                return await handler.call(request, self._services, self._key)
        except TimeoutError:
            if timer.expired():
                raise self._too_long() from None
            raise

    def _too_long(self) -> StepFailedError:
        return StepFailedError(
            "timeout", f"an attempt took longer than {self.step.timeout_seconds:g} s", retryable=True
        )

    async def _wait_for(self, handler: WaitingHandler, request: Any) -> StepResult:
        """Look and wait in turns until there is a result or the attempt's time is over."""
        assert self.record.started_at is not None, "a step that runs has begun"
        waiting = Waiting(self._key, self.record.started_at, self.record.attempts, self._life)
        try:
            while True:
                now = self._clock.now()
                seen = await handler.poll(request, self._services, waiting, now)
                if isinstance(seen, StepResult):
                    return seen
                limit = after(seen.since or waiting.started_at, self.step.timeout_seconds)
                if limit is not None and now >= limit:
                    raise self._too_long()
                await self.wait(replace(seen, until=earliest(seen.until, limit)))
        except ParkedError:
            raise
        except BaseException:
            await handler.abandon(request, self._services, waiting)
            raise


def _check_answer(result: StepResult) -> None:
    """Refuse an answer that no journal can keep.

    :raises StepFailedError: ``output_too_large``.
    """
    if result.answer is not None:
        size = len(to_json(result.answer.body, inf_nan_mode="constants"))
        if size > MAX_ANSWER_BYTES:
            message = f"an answer must have at most {MAX_ANSWER_BYTES:,} bytes of JSON; got {size:,}. Answer with less"
            raise StepFailedError("output_too_large", message, retryable=False)


def _utf8(text: str) -> str:
    """Return a text with what UTF-8 cannot hold replaced."""
    return text.encode("utf-8", "replace").decode()


def _rendered(handler: Handler | WaitingHandler, step: Step, scope: Scope) -> Any:
    try:
        return handler.render(step, scope)
    except EvaluationError as error:
        raise StepFailedError(error.code, error.message, retryable=False) from None
    except StepFailedError:
        raise
    except Exception as error:
        raise internal_error(error) from None


def _handler(step: Step) -> Handler | WaitingHandler:
    handler = (HANDLERS if step.pod is None else IN_PODS).get(step.type)
    if handler is None:
        raise StepFailedError(
            "unavailable_type", f"this version cannot run steps of type {step.type!r}", retryable=False
        )
    return handler


def internal_error(error: Exception) -> StepFailedError:
    """Return the error of a defect of ours; its text stays out, since nobody has checked what it holds."""
    return StepFailedError("internal_error", f"the step broke off: {type(error).__name__}", retryable=False)
