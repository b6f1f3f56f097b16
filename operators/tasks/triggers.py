"""The Airflow triggers that wait for a parked unit, so that no worker does."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from operators.execution.records import News

SEGMENT_TRIGGER = "operators.tasks.in_triggerer.SegmentTrigger"
"""Runs a segment; named only, for its module is heavy and DAG files import this one."""
AWAY_SECONDS = 2.0
"""How long to wait where the control plane does not answer."""


class StepTrigger(BaseTrigger):
    """Fires when a waiting step of an execution is worth another look.

    It holds ids and a moment, nothing of a tenant; what happened the operator asks the control plane. Firing too often
    is harmless.

    :param execution_id: The execution.
    :param awaited: Ids of what the step waits for besides the execution's end, e.g. child executions; one is enough.
        Triggers that Airflow has stored since before there could be several hold one id, or None.
    :param until: When to fire at the latest by the control plane's clock, in seconds since 1970; None for no limit.
    """

    def __init__(self, execution_id: str, awaited: Sequence[str] | None = None, until: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Airflow
        self.execution_id = execution_id
        self.awaited = [awaited] if isinstance(awaited, str) else list(awaited or ())
        self.until = until

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        arguments = {"execution_id": self.execution_id, "awaited": self.awaited, "until": self.until}
        return "operators.tasks.triggers.StepTrigger", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, then fire once."""
        event = await self._news()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]  # untyped in Airflow

    async def _news(self) -> dict[str, Any] | None:
        """Return when there is news; what is returned goes to the operator."""
        from operators.execution.http import WATCH_SECONDS, HttpStore
        from operators.execution.store import RejectedError, StoreError
        from operators.settings import runtime_settings

        # The first answer tells the time, from which on it is known how long to wait.
        seconds = WATCH_SECONDS if self.until is None else 0.0
        async with HttpStore(runtime_settings()) as store:
            while True:
                try:
                    news = await store.watch(self.execution_id, self.awaited, seconds)
                except RejectedError:
                    return None  # The operator will hear the same, and say it.
                except StoreError:
                    await asyncio.sleep(AWAY_SECONDS)
                    continue
                left = self._seconds_left(news)
                if news.halted or news.done or left <= 0:
                    return None
                seconds = min(left, WATCH_SECONDS)

    def _seconds_left(self, news: News) -> float:
        if self.until is None:
            return math.inf
        return self.until - (time.time() if news.now is None else news.now.timestamp())


class ApprovalTrigger(StepTrigger):
    """Fires too when the approval was answered in Airflow before the task was parked.

    Its event is then what Airflow's API makes of an answer that comes later; that one wakes the task without a trigger.

    :param task_instance_id: Whose required action it is.
    """

    def __init__(
        self,
        execution_id: str,
        awaited: Sequence[str] | None = None,
        until: float | None = None,
        task_instance_id: str = "",
    ) -> None:
        super().__init__(execution_id, awaited, until)
        self.task_instance_id = task_instance_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        _, arguments = super().serialize()
        return "operators.tasks.triggers.ApprovalTrigger", {**arguments, "task_instance_id": self.task_instance_id}

    async def _news(self) -> dict[str, Any] | None:
        # In a thread, because Airflow's call is a blocking one.
        event = await asyncio.to_thread(self._early_answer)
        return event if event is not None else await super()._news()

    def _early_answer(self) -> dict[str, Any] | None:
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

        detail = get_hitl_detail_content_detail(ti_id=UUID(self.task_instance_id))
        user = detail.responded_by_user
        if not detail.response_received or user is None:
            return None
        chosen = list(detail.chosen_options or ())
        return {"chosen_options": chosen, "responded_by_user": {"id": user.id, "name": user.name}}
