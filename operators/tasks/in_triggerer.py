"""Running a light segment in Airflow's triggerer, where no process has to be started for it. See decision 24."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import warnings
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from operators.execution.http import HttpStore
from operators.execution.store import StoreError
from operators.tasks.quiet import STEP_LOGGERS, quieten
from operators.tasks.triggers import SEGMENT_TRIGGER

if TYPE_CHECKING:
    from compiler.plan import Plan
    from operators.execution.records import LeaseGrant, LeaseRequest
    from operators.execution.runner import UnitOutcome

SLOTS = 16
"""Units at once. Each has a thread with an event loop of its own, so that none holds up the triggerer's."""
MOST_TAKES = 2
"""A unit whose lease was taken more often has been broken off before, maybe by what it does to its process."""
MOST_PLANS = 256
log = logging.getLogger(__name__)


class SegmentTrigger(BaseTrigger):
    """Runs one unit by the runner, journal and lease of the workers, and ends its task where the unit ends well.

    Anything else goes to a worker, whose task takes the journal up. It knows what a trigger is not told (how often the
    run was cleared), and how to fail without a retry.

    :param unit: The unit's id.
    :param sha256: Digest of the plan, by which the control plane has it.
    """

    def __init__(self, unit: str, sha256: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in Airflow
        self.unit = unit
        self.sha256 = sha256

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow stores of the trigger."""
        return SEGMENT_TRIGGER, {"unit": self.unit, "sha256": self.sha256}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Run the unit, then fire once."""
        yield await self._event()

    async def _event(self) -> TriggerEvent:
        task: Any = self.task_instance
        # A second try is a lost first one, or a run that was cleared.
        if task is None or task.try_number > 1:
            return _to_worker()
        runner = _Runner(self.unit, self.sha256, task.get_template_context()["dag_run"])
        running = asyncio.get_running_loop().run_in_executor(_pool(), contextvars.copy_context().run, runner.run)
        try:
            outcome = await asyncio.shield(running)
        except asyncio.CancelledError:
            runner.cancel()
            raise
        if outcome is None or outcome.kind not in ("done", "skipped"):
            return _to_worker()
        return TaskSkippedEvent() if outcome.kind == "skipped" and not runner.feeds_any else TaskSuccessEvent()


def _to_worker() -> TriggerEvent:
    return TriggerEvent(None)  # type: ignore[no-untyped-call]  # untyped in Airflow


class _Store(HttpStore):
    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        """Take the lease, unless others have lost it before: then a process of its own is the place for the unit.

        :raises StoreError: They have.
        """
        grant = await super().lease(execution_id, request)
        if grant.token > MOST_TAKES:
            raise _TakenTooOftenError("this unit was broken off before")
        return grant


class _TakenTooOftenError(StoreError):
    """Trying again here does not help."""


class _Runner:
    """Runs a unit in the thread that calls it."""

    def __init__(self, unit: str, sha256: str, dag_run: Any) -> None:
        self._unit = unit
        self._sha256 = sha256
        self._dag_run = dag_run
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._is_cancelled = False
        self.feeds_any = False

    def run(self) -> UnitOutcome | None:
        """Run it; None where that broke off. What is journaled stays, so a worker goes on from there."""
        try:
            return asyncio.run(self._run())
        except asyncio.CancelledError:
            return None
        except Exception as error:
            # Its text stays out: it may be the tenant's.
            log.warning("a worker goes on, since the runner broke off: %s", type(error).__name__)
            return None

    def cancel(self) -> None:
        """Cut it off and give its lease back; what is journaled stays."""
        self._is_cancelled = True
        if self._loop is not None and self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def _run(self) -> UnitOutcome:
        from operators.settings import runtime_settings
        from operators.tasks.segment import run_segment

        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        if self._is_cancelled:
            raise asyncio.CancelledError
        plan = _plan(self._sha256)
        self.feeds_any = any(self._unit in other.upstream for other in plan.units if other.starts_on_any)
        async with _Store(runtime_settings()) as store:
            return await run_segment(plan, self._sha256, self._unit, store, self._dag_run, log)


@lru_cache(maxsize=MOST_PLANS)
def _plan(sha256: str) -> Plan:
    """Return a plan from the control plane; a plan of a digest never changes.

    :raises httpx.HTTPError: The control plane does not answer, or has none.
    :raises ValueError: It gave something else.
    """
    import httpx

    from compiler.plan import Plan, plan_digest
    from operators.settings import runtime_settings

    settings = runtime_settings()
    answer = httpx.post(
        f"{settings.api_url}/runtime/v1/artifacts",
        json={"sha256": [sha256]},
        headers={"Authorization": f"Bearer {settings.token}"},
        timeout=30,
        trust_env=False,
    ).raise_for_status()
    # The one file that was asked for, after its length in 4 bytes.
    data = answer.content[4:]
    if plan_digest(data) != sha256:
        raise ValueError("the control plane gave another plan")
    return Plan.from_bytes(data)


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Return the threads; what logs tenant text is made quiet for the whole process, as in a worker."""
    quieten(STEP_LOGGERS)
    warnings.simplefilter("ignore")
    return ThreadPoolExecutor(SLOTS, thread_name_prefix="agent-factory-segment")
