"""One step from its start to its final record: render once, call until it succeeds or no attempt is left."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from pydantic_core import to_json

from compiler.expressions import EvaluationError
from compiler.plan import Retry, Step
from operators.execution.clock import Clock
from operators.execution.records import StepError, StepRecord
from operators.execution.store import StoreError
from operators.execution.stubs import Stubs
from operators.steps.base import Handler, Scope, StepFailedError, StepKey, StepResult, StepServices
from operators.steps.registry import HANDLERS


def backoff(retry: Retry, failed_attempts: int) -> float:
    """Return the wait after the n-th failed attempt, in seconds; there is no jitter."""
    # Beyond 2 ** 1000 a float overflows; the limit was reached long before.
    growth = 2.0 ** min(failed_attempts - 1, 1000)
    return min(retry.max_backoff_seconds, retry.backoff_seconds * growth)


class StepRun:
    """Runs one step.

    :param record: Filled in as the step proceeds, so that whoever cuts it off knows how far it came.
    """

    def __init__(self, step: Step, key: StepKey, services: StepServices, clock: Clock, stubs: Stubs) -> None:
        self.step = step
        self._key = key
        self.record = StepRecord(id=key.step_id, status="running")
        self._services = services
        self._clock = clock
        self._stubs = stubs
        self._began = 0.0

    async def run(self, scope: Scope) -> None:
        """Bring the record to ``success`` or ``failed``.

        :raises StoreError: The store failed in the middle of a call; that is no failure of the step.
        """
        self.record.started_at = self._clock.now()
        self._began = self._clock.monotonic()
        try:
            result = await self._attempts(scope)
        except StepFailedError as error:
            self.record.error = StepError(code=error.code, message=_utf8(error.message))
            self.close("failed")
        else:
            self.record.output = result.output
            self.record.answer = result.answer
            self.close("success")

    def close(self, status: Any) -> None:
        """Write down the end: its status, time and duration (waits between attempts included)."""
        self.record.status = status
        self.record.ended_at = self._clock.now()
        self.record.duration_ms = round((self._clock.monotonic() - self._began) * 1000, 3)

    async def _attempts(self, scope: Scope) -> StepResult:
        self.record.attempts = 1
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
                _check_storable(result)
                return result
            if self.record.id not in self._stubs:
                await self._clock.sleep(backoff(self.step.retry, self.record.attempts))
            self.record.attempts += 1

    async def _attempt(self, handler: Handler, request: Any) -> StepResult:
        if self.record.id in self._stubs:
            return self._stubs.call(self.record.id)
        limit = self.step.timeout_seconds
        try:
            async with asyncio.timeout(limit) as timer:
                return await handler.call(request, self._services, self._key)
        except (StepFailedError, StoreError):
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) and timer.expired():
                raise StepFailedError("timeout", f"an attempt took longer than {limit:g} s", retryable=True) from None
            raise internal_error(error) from None


def _check_storable(result: StepResult) -> None:
    """Refuse an output that no journal can keep: halves of surrogate pairs, infinity.

    :raises StepFailedError: It is such an output.
    """
    try:
        orjson.loads(to_json(result.output, inf_nan_mode="constants"))
    except ValueError:
        raise StepFailedError(
            "invalid_output",
            "an output must be JSON in UTF-8; got text or a number that is none",
            retryable=False,
        ) from None


def _utf8(text: str) -> str:
    """Return a text with what UTF-8 cannot hold replaced."""
    return text.encode("utf-8", "replace").decode()


def _rendered(handler: Handler, step: Step, scope: Scope) -> Any:
    try:
        return handler.render(step, scope)
    except EvaluationError as error:
        raise StepFailedError(error.code, error.message, retryable=False) from None
    except StepFailedError:
        raise
    except Exception as error:
        raise internal_error(error) from None


def _handler(step: Step) -> Handler:
    handler = HANDLERS.get(step.type)
    if handler is None:
        raise StepFailedError(
            "unavailable_type", f"this version cannot run steps of type {step.type!r}", retryable=False
        )
    return handler


def internal_error(error: Exception) -> StepFailedError:
    """Return the error of a defect of ours; its text stays out, since nobody has checked what it holds."""
    return StepFailedError("internal_error", f"the step broke off: {type(error).__name__}", retryable=False)
