"""The Airflow operator that runs one unit of a plan.

This module is imported whenever a DAG file is parsed, so everything heavy is imported when a task runs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import warnings
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)
from airflow.triggers.base import StartTriggerArgs

from operators.settings import segments_in_triggerer
from operators.tasks.plan_file import PlanFile, PlanFileError
from operators.tasks.quiet import STEP_LOGGERS, quieten
from operators.tasks.triggers import SEGMENT_TRIGGER, StepTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

    from compiler.plan import Plan, Unit
    from operators.execution.http import HttpStore
    from operators.execution.records import StepRecord
    from operators.execution.runner import UnitOutcome
    from operators.steps.base import StepServices, Wake

__all__ = ["PlanFile", "SegmentOperator"]

RESCHEDULE_SECONDS = 1.0
OLDEST_RUN_FIRST = "operators.tasks.priority.OldestRunFirst"
"""By name: only Airflow's scheduler, API server and DAG processor load it."""


class SegmentOperator(BaseOperator):
    """Run one unit of a workflow's plan; the task id is the unit's id.

    Input, journal and credentials come from the control plane (``AGENT_FACTORY_API_URL``), never from Airflow: nothing
    is templated, nothing goes to XCom, and neither the log nor an exception holds tenant text. What it does not do:
    step retries and time-outs, which belong to the runner; Airflow's own retries serve lost workers only.

    :param plan: The plan beside the DAG file.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e8f0fe"
    quiet_loggers: ClassVar[Sequence[str]] = STEP_LOGGERS

    def __init__(self, *, plan: PlanFile, **kwargs: Any) -> None:
        super().__init__(**{"do_xcom_push": False, "weight_rule": OLDEST_RUN_FIRST, **kwargs})
        self.plan = plan
        # Whatever may have to wait, or to be looked at again, is a worker's from the beginning.
        if type(self) is SegmentOperator and self.trigger_rule != "one_done" and segments_in_triggerer():
            self.start_from_trigger = True
            # Airflow stores it: an id and a digest.
            arguments = {"unit": self.task_id, "sha256": plan.sha256}
            self.start_trigger_args = StartTriggerArgs(SEGMENT_TRIGGER, next_method="resume", trigger_kwargs=arguments)
        self._cancel: Callable[[], object] | None = None
        self._feeds_any = False

    def execute(self, context: Context) -> None:
        """Run the unit.

        :raises AirflowSkipException: All of its steps were skipped.
        :raises AirflowFailException: The execution failed, or can never run; Airflow must not retry.
        :raises AirflowRescheduleException: The unit's first step is not decided yet.
        :raises TaskDeferred: Its step waits; the trigger has the unit run again.
        :raises AirflowException: The runner broke off; an Airflow retry goes on where it stopped.
        """
        outcome = self._guarded(context)
        # Raised out here, so that no traceback leads back to an exception with tenant text.
        if isinstance(outcome, BaseException):
            raise outcome
        self._conclude(outcome)

    def resume(self, context: Context, event: object = None) -> None:
        """Look again at what waits, after the trigger has fired."""
        self.execute(context)

    def on_kill(self) -> None:
        """Cancel the run; what is journaled stays."""
        if self._cancel is not None:
            self._cancel()

    def _guarded(self, context: Context) -> UnitOutcome | AirflowException:
        """Run the unit; return an exception fit for Airflow's log where that fails."""
        from operators.execution.runner import UnitOutcome
        from operators.execution.store import NotBegunError, RejectedError, StoreError
        from operators.settings import SettingsError

        quieten(self.quiet_loggers)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return asyncio.run(self._run(context))
        except NotBegunError as error:
            self.log.info("%s", error)
            return UnitOutcome("skipped", "pending")
        except (PlanFileError, SettingsError, RejectedError) as error:
            return AirflowFailException(str(error))
        except StoreError as error:
            return AirflowException(f"{type(error).__name__}: {error}")
        except asyncio.CancelledError:
            return AirflowException("the task was told to stop")
        except Exception as error:
            return AirflowException(f"the runner broke off: {type(error).__name__}")

    async def _run(self, context: Context) -> UnitOutcome:
        from operators.execution.http import HttpStore
        from operators.execution.store import StoreError
        from operators.settings import runtime_settings

        plan = self.plan.load()
        unit = self._unit(plan)
        self._feeds_any = any(self.task_id in other.upstream for other in plan.units if other.starts_on_any)
        self._become_cancellable()
        async with HttpStore(runtime_settings()) as store:
            await self._prepare(store)
            outcome = await run_segment(
                plan,
                self.plan.sha256,
                self.task_id,
                store,
                context["dag_run"],
                self.log,
                equip=lambda services: self._equip(services, store, plan, context["dag_run"].run_id),
                leave=self._leave,
            )
        if outcome.kind == "undecided" and not unit.starts_on_any:
            raise StoreError("the units before this one ended without deciding whether it runs")
        return outcome

    async def _prepare(self, store: HttpStore) -> None:
        """Do what must be done before the unit is looked at; subclasses may need it."""

    def _equip(self, services: StepServices, store: HttpStore, plan: Plan, run_id: str) -> None:
        """Give the steps what they may use besides the store's services; subclasses may have something."""

    async def _leave(self, services: StepServices, outcome: UnitOutcome) -> None:
        """Clean up after the unit's run; subclasses may have something to."""

    def _unit(self, plan: Plan) -> Unit:
        for unit in plan.units:
            if unit.id == self.task_id:
                return unit
        raise PlanFileError(f"the plan must have a unit {self.task_id!r}; it has none. Publish the workflow again")

    def _become_cancellable(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        # ``on_kill`` comes from a signal handler, in the middle of anything the loop does.
        self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)

    def _conclude(self, outcome: UnitOutcome) -> None:
        """Tell Airflow how the unit ended."""
        if outcome.wake is not None:
            self._park(outcome.execution_id, outcome.wake)
        # Airflow's rule ``one_done`` does not count skipped tasks: were all of them skipped, it would never start.
        if outcome.kind == "skipped" and not self._feeds_any:
            raise AirflowSkipException("every step of this unit was skipped")
        if outcome.kind == "undecided":
            again = datetime.now(UTC) + timedelta(seconds=RESCHEDULE_SECONDS)
            raise AirflowRescheduleException(again)  # type: ignore[no-untyped-call]  # untyped in Airflow
        if outcome.kind == "failed" or (outcome.kind == "ended" and outcome.status != "success"):
            failures = ", ".join(f"step {step_id} ({code})" for step_id, code in outcome.failures)
            raise AirflowFailException(f"the execution {_ended(outcome)}" + (f": {failures}" if failures else ""))

    def _park(self, execution_id: str, wake: Wake) -> None:
        """Give the worker back until the unit's step is worth another look.

        :raises TaskDeferred: Always.
        """
        until = None if wake.until is None else wake.until.timestamp()
        self.defer(trigger=StepTrigger(execution_id, wake.awaited, until), method_name="resume")


async def run_segment(
    plan: Plan,
    digest: str,
    unit_id: str,
    store: HttpStore,
    dag_run: Any,
    log: Any,
    *,
    equip: Callable[[StepServices], None] = lambda services: None,
    leave: Callable[[StepServices, UnitOutcome], Awaitable[None]] | None = None,
) -> UnitOutcome:
    """Run a unit of the execution of Airflow's run, as the only one of this process try.

    :param equip: Gives the steps what they may use besides the store's services.
    :param leave: Cleans up after a run that came to an outcome.
    :raises StoreError: As :func:`operators.execution.runner.run_unit`.
    """
    from operators.execution.runner import run_unit, store_services
    from operators.tasks.runs import run_start

    services = store_services(store, dag_run.run_id)
    equip(services)
    try:
        outcome = await run_unit(
            plan,
            unit_id,
            store,
            services,
            execution_id=dag_run.run_id,
            owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}",
            plan_digest=digest,
            clear_number=dag_run.clear_number or 0,
            run_start=run_start(dag_run),
            observer=partial(_log_step, log),
            parks=True,
        )
        if leave is not None:
            await leave(services, outcome)
        return outcome
    finally:
        log.info("execution %s", store.execution_id(dag_run.run_id))
        await services.close()


def _log_step(log: Any, record: StepRecord) -> None:
    """Log a step as one group of the log view: figures and codes, never payloads or messages."""
    log.info("::group::step %s: %s", record.id, record.status)
    log.info("attempts %d, %.0f ms", record.attempts, record.duration_ms or 0)
    for usage in record.usage:
        cost = "unknown" if usage.cost_usd is None else f"{usage.cost_usd:.6f} USD"
        log.info("tokens in %d, out %d, cost %s", usage.input_tokens, usage.output_tokens, cost)
    if record.error is not None:
        log.info("error code %s", record.error.code)
    log.info("::endgroup::")


def _ended(outcome: UnitOutcome) -> str:
    return "was cancelled" if outcome.status == "cancelled" else "failed"
