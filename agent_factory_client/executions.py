"""Executions: look at them, follow them, end them, run them again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Literal

from agent_factory_client.errors import ApiError, ConnectionFailed
from agent_factory_client.events import Event
from agent_factory_client.schemas import (
    ExecutionCancelled,
    ExecutionComparison,
    ExecutionList,
    ExecutionRestarted,
    ExecutionSummary,
    ExecutionView,
)
from agent_factory_client.transport import Transport, path

Status = Literal["pending", "running", "success", "failed", "cancelled"]
Part = Literal["input", "output", "steps", "step_inputs", "step_outputs"]

FINAL = frozenset({"success", "failed", "cancelled"})
"""The statuses of executions that have ended."""

HOLD_SECONDS = 30
"""For so long one request waits for an end."""
LOST_SECONDS = 60.0
"""For so long a lost stream is opened again."""
PAGE = 200


class Executions:
    """Executions of the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        workflow_id: str | None = None,
        version: int | None = None,
        status: Sequence[Status] | None = None,
        trigger: str | None = None,
        accepted_from: str | None = None,
        accepted_before: str | None = None,
        min_duration_ms: float | None = None,
        max_duration_ms: float | None = None,
        parent_execution_id: str | None = None,
        error_code: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> ExecutionList:
        """Return a page of executions, the newest first; ``next`` is the ``cursor`` of the page behind it.

        :param accepted_from: ISO 8601 with a time zone; so is ``accepted_before``.
        """
        query = {name: value for name, value in locals().items() if name != "self" and value not in (None, ())}
        return self._transport.json(ExecutionList, "GET", path("/executions"), query=query)

    def each(self, *, limit: int | None = None, **filters: object) -> Iterator[ExecutionSummary]:
        """Yield the executions of :meth:`list` over all pages.

        :param limit: How many at most.
        """
        left, cursor = limit, None
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = self.list(**filters, cursor=cursor, limit=size)  # type: ignore[arg-type]
            yield from page["executions"]
            cursor = page["next"]
            if cursor is None:
                return
            left = left if left is None else left - len(page["executions"])

    def show(
        self, execution_id: str, *, wait: str | None = None, include: Sequence[Part] | None = None
    ) -> ExecutionView:
        """Return an execution with its steps.

        :param wait: Answer when it has ended, or after this time, like ``30s``.
        :param include: The parts to return; without it all but ``step_inputs``.
        """
        query = {"wait": wait, "include": include}
        return self._transport.json(ExecutionView, "GET", path("/executions/{}", execution_id), query=query)

    def output(self, execution_id: str) -> bytes:
        """Return an execution's output as JSON, however large it is."""
        return self._transport.send("GET", path("/executions/{}/output", execution_id)).content

    def step_output(self, execution_id: str, step_id: str) -> bytes:
        """Return a step's output as JSON, however large it is.

        :param step_id: Of a step in a map its id there, ``map[0].step``.
        """
        return self._transport.send("GET", path("/executions/{}/steps/{}/output", execution_id, step_id)).content

    def wait(self, execution_id: str, *, timeout: float | None = None) -> ExecutionView:
        """Return an execution that has ended.

        :param timeout: Seconds; without it, however long it takes.
        :raises TimeoutError: It has not ended by then.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            began = time.monotonic()
            hold = HOLD_SECONDS if end is None else max(0, min(HOLD_SECONDS, int(end - began)))
            execution = self.show(execution_id, wait=f"{hold}s")
            if execution["status"] in FINAL:
                return execution
            if end is not None and time.monotonic() >= end:
                raise TimeoutError(f"The execution {execution_id} is {execution['status']} after {timeout} s.")
            # A server that does not hold the request is not asked all the time.
            time.sleep(max(0.0, 0.5 - (time.monotonic() - began)))

    def follow(self, execution_id: str) -> Iterator[Event]:
        """Yield an execution's events until it has ended; a lost connection goes on where it was lost.

        :raises ApiError: The control plane refuses.
        :raises ConnectionFailed: It did not come back within a minute.
        """
        last, heard = "", time.monotonic()
        while True:
            try:
                with self._transport.events(
                    "GET", path("/executions/{}/events", execution_id), headers={"last-event-id": last or None}
                ) as events:
                    for event in events:
                        last, heard = event.id or last, time.monotonic()
                        yield event
                        if event.name == "execution" and event.data["status"] in FINAL:
                            return
                    heard = time.monotonic()
            except (ConnectionFailed, ApiError) as error:
                if isinstance(error, ApiError) and not error.is_passing:
                    raise
                if time.monotonic() - heard > LOST_SECONDS:
                    raise
            time.sleep(1.0)

    def cancel(self, execution_id: str) -> ExecutionCancelled:
        """End an execution early; one that has ended stays as it is."""
        return self._transport.json(ExecutionCancelled, "POST", path("/executions/{}/cancel", execution_id))

    def retry(self, execution_id: str) -> ExecutionRestarted:
        """Have a failed or cancelled execution go on where it failed."""
        return self._transport.json(ExecutionRestarted, "POST", path("/executions/{}/retry", execution_id))

    def rerun(self, execution_id: str, *, from_step: str | None = None) -> ExecutionRestarted:
        """Run an ended execution again, what succeeded too: model calls are paid again.

        :param from_step: The first task to run again; without it all do.
        """
        return self._transport.json(
            ExecutionRestarted, "POST", path("/executions/{}/rerun", execution_id), query={"from": from_step}
        )

    def compare(self, execution_id: str, other_id: str) -> ExecutionComparison:
        """Return how two executions differ, step by step."""
        return self._transport.json(
            ExecutionComparison, "GET", path("/executions/{}/compare/{}", execution_id, other_id)
        )
