"""A running test as server-sent events: ``started``, a ``step`` each, ``finished``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from operators.execution.local import LocalResult
from operators.execution.records import StepError, StepRecord
from operators.execution.runner import Observer

log = logging.getLogger(__name__)

PING_SECONDS = 15.0
MAX_SHOWN_BYTES = 256_000
"""Of a value in an event; a larger one is left out, and its size told."""

Run = Callable[[Observer], Awaitable[LocalResult]]


async def events(run: Run, steps: list[str], seconds: float) -> AsyncIterator[bytes]:
    """Run a test and yield its events. It ends with this generator, so when whoever reads has gone.

    :param run: Runs it, telling each step's record.
    :param steps: The ids of what runs, for ``started``.
    :param seconds: How long it may take.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    task = asyncio.create_task(_run(run, queue, seconds), name="trial")
    try:
        yield encode("started", {"steps": steps, "seconds": seconds})
        while True:
            try:
                event = await asyncio.wait_for(queue.get(), PING_SECONDS)
            except TimeoutError:
                # A comment: keeps proxies from closing, and shows whether the reader is still there.
                event = b": it runs\n\n"
            if event is None:
                return
            yield event
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _run(run: Run, queue: asyncio.Queue[bytes | None], seconds: float) -> None:
    def tell(record: StepRecord) -> None:
        queue.put_nowait(encode("step", describe_step(record)))

    try:
        async with asyncio.timeout(seconds):
            result = await run(tell)
        end = {
            "status": result.status,
            "output": result.output,
            "error": result.error and result.error.model_dump(),
            "steps": {step_id: record.status for step_id, record in result.steps.items()},
        }
    except TimeoutError:
        error = StepError(code="test_timeout", message=f"a test may take {seconds:g} s; this one was ended")
        end = {"status": "cancelled", "output": None, "error": error.model_dump(), "steps": {}}
    except Exception as error:
        # Its message may hold what a tenant wrote.
        log.error("a test of a draft broke off: %s", type(error).__name__)
        failure = StepError(code="internal_error", message="the test broke off; the reason is in the server's log")
        end = {"status": "failed", "output": None, "error": failure.model_dump(), "steps": {}}
    queue.put_nowait(encode("finished", _bounded(end)))
    queue.put_nowait(None)


def describe_step(record: StepRecord) -> dict[str, Any]:
    """Return what is told of a step."""
    return _bounded(record.model_dump(mode="python", exclude={"answer", "id"}) | {"step_id": record.id})


def _bounded(event: dict[str, Any]) -> dict[str, Any]:
    size = len(_dump(event["output"]))
    return event if size <= MAX_SHOWN_BYTES else event | {"output": None, "output_left_out_bytes": size}


def encode(name: str, data: dict[str, Any]) -> bytes:
    """Return an event in the format of server-sent events; JSON has no line breaks of its own."""
    return b"event: " + name.encode() + b"\ndata: " + _dump(data) + b"\n\n"


def _dump(value: Any) -> bytes:
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:
        # Half a surrogate pair or a number beyond 64 bits; the slower encoder writes both.
        return json.dumps(value, default=str).encode()


class TrialResponse(StreamingResponse):
    """Streams a test, and gives its place back however that ends.

    :param done: Called once.
    """

    def __init__(self, content: AsyncIterator[bytes], done: Callable[[], None]) -> None:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(content, media_type="text/event-stream", headers=headers)
        self._content = content
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            # Left to the garbage collector the test would go on for a while.
            closing = getattr(self._content, "aclose", None)
            if closing is not None:
                await closing()
            self._done()
