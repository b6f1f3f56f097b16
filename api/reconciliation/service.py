"""Brings executions to their true end where Airflow ended, lost or never had their run, and stops runs that outlive
their execution. Every decision is one small transaction under the execution's row lock, in which it is looked at again;
several rounds at once are harmless."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.executions.acceptance import Acceptance
from api.executions.ending import Ending
from api.executions.repository import ENDED, ExecutionRepository
from api.reconciliation import causes
from api.reconciliation.airflow import AirflowRuns, Run
from api.reconciliation.repository import (
    Left,
    ReconciliationRepository,
    database_now,
    find_left_alone,
    find_never_ordered,
    find_of_runs,
    find_out_of_time,
)
from api.relay.airflow import AirflowAwayError, AirflowRefusedError
from api.upkeep.tools import Counts, Tools
from api.workflows.repository import WorkflowRepository
from operators.execution.records import StepError

log = logging.getLogger(__name__)

QUIET_SECONDS = 5.0
"""So long after the relay took it an execution is not looked at: its first task is on its way."""
TIMEOUT_GRACE_SECONDS = 5.0
"""So long a runner has to end an execution whose time is over."""
UNATTENDED_SECONDS = 20.0
"""Where the scheduler has not looked at a run for so long, its DAG is looked at."""
OUTLIVED_SECONDS = 60.0
"""So long a run may outlive its execution: its last tasks must still hear of the end."""
MOST = 500
"""How many executions a round settles, the oldest first."""
AT_ONCE = 8
CHUNK = 500


class Reconciler:
    """Reconciliation of the whole installation.

    :param tools: The database, Airflow, the plans and the settings.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._airflow = AirflowRuns(tools.airflow)
        self._counts: Counter[str] = Counter(left_alone=0, ended=0, ordered_again=0, runs_stopped=0, airflow_away=0)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def round(self) -> Counts:
        """Look at everything once; return what was done."""
        async with self._tools.database.system() as session:
            out_of_time = await find_out_of_time(session, TIMEOUT_GRACE_SECONDS, MOST)
            never_ordered = await find_never_ordered(session, QUIET_SECONDS, MOST)
            left_alone = await find_left_alone(session, QUIET_SECONDS)
        self._counts["left_alone"] = len(left_alone)
        await self._each(out_of_time, self._time_out)
        await self._each(never_ordered, self._order_again)
        try:
            await self._compare(left_alone)
        except (AirflowAwayError, AirflowRefusedError) as error:
            log.warning("reconciliation: Airflow could not be asked: %s", error)
            self._counts["airflow_away"] += 1
        return dict(self._counts)

    async def hear(self, runs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Look at the executions of runs that are said to have ended; return the runs to say it of again later.

        :param runs: ``(DAG id, run id)``.
        """
        async with self._tools.database.system() as session:
            found = await find_of_runs(session, runs)
        unfinished = [left for left in found if left.status not in ENDED]
        later = [left for left in unfinished if left.has_runner]

        async def look(left: Left) -> None:
            run = await self._airflow.run(left.dag_id, left.run_id)
            if run is not None and not run.has_ended:
                later.append(left)  # the scheduler tells before it commits
            else:
                await self._settle(left, run)

        await self._each([left for left in unfinished if left.is_alone], look)
        return [(left.dag_id, left.run_id) for left in later]

    async def _each(self, lefts: Iterable[Left], act: Callable[[Left], Awaitable[None]]) -> None:
        """Do something about executions, several at a time; what cannot be done now is done in the next round."""

        async def turn(left: Left) -> None:
            async with self._turns:
                try:
                    await act(left)
                except (AirflowAwayError, AirflowRefusedError, SQLAlchemyError, OSError) as error:
                    log.warning("reconciliation: execution %s: %s", left.execution_id, type(error).__name__)
                    self._counts["airflow_away"] += isinstance(error, AirflowAwayError | AirflowRefusedError)
                except Exception:
                    log.exception("reconciliation: execution %s could not be settled", left.execution_id)

        await asyncio.gather(*(turn(left) for left in lefts))

    async def _compare(self, left_alone: Sequence[Left]) -> None:
        """Compare the executions nobody is at work on with the runs that Airflow is at work on, both ways."""
        active = {(run.dag_id, run.run_id): run for run in await self._airflow.active()}
        async with self._tools.database.without_organization() as session:
            now = await database_now(session)
        without = [left for left in left_alone if (left.dag_id, left.run_id) not in active]
        await self._each(without[:MOST], self._ask)
        unattended = {key for key, run in active.items() if run.is_unattended(now, UNATTENDED_SECONDS)}
        await self._leave_lost_dags([left for left in left_alone if (left.dag_id, left.run_id) in unattended])
        await self._stop_outlived(active, now)

    async def _ask(self, left: Left) -> None:
        """Settle an execution whose run is not among the active ones."""
        await self._settle(left, await self._airflow.run(left.dag_id, left.run_id))

    async def _settle(self, left: Left, run: Run | None) -> None:
        """End an execution whose run has ended or is gone; one whose run is at work stays as it is."""
        if run is None:
            known = await self._airflow.knows(left.dag_id)
            await self._end(left, causes.run_deleted() if known else causes.dag_missing(left.dag_id))
        elif run.has_ended:
            failed = await self._airflow.failed_tasks(left.dag_id, left.run_id)
            await self._end(left, causes.run_ended(run.state, failed))

    async def _leave_lost_dags(self, lefts: Sequence[Left]) -> None:
        """End the executions of DAGs that Airflow has lost: its scheduler does nothing more about their runs."""
        lost = {
            dag_id: await self._why_lost(dag_id)
            for dag_id in sorted({left.dag_id for left in lefts})
            if await self._airflow.is_lost(dag_id)
        }

        async def leave(left: Left) -> None:
            if not await self._airflow.is_busy(left.dag_id, left.run_id):
                await self._end(left, lost[left.dag_id])

        await self._each([left for left in lefts if left.dag_id in lost][:MOST], leave)

    async def _why_lost(self, dag_id: str) -> StepError:
        reason = await self._airflow.import_error(dag_id)
        return causes.dag_missing(dag_id) if reason is None else causes.dag_import_error(dag_id, reason)

    async def _stop_outlived(self, active: dict[tuple[str, str], Run], now: datetime) -> None:
        """Stop the runs whose executions ended a while ago, as these ended.

        A run that was queued after that end is one that somebody cleared: its first task will reopen the execution.
        """
        keys = list(active)
        lefts: list[Left] = []
        for start in range(0, len(keys), CHUNK):
            async with self._tools.database.system() as session:
                lefts += await find_of_runs(session, keys[start : start + CHUNK])

        async def stop(left: Left) -> None:
            await self._airflow.stop(
                active[left.dag_id, left.run_id], "success" if left.status == "success" else "failed"
            )
            self._counts["runs_stopped"] += 1

        before = now - timedelta(seconds=OUTLIVED_SECONDS)
        outlived = [
            left
            for left in lefts
            if left.is_alone
            and left.completed_at is not None
            and left.completed_at < before
            and _is_older(active[left.dag_id, left.run_id], left.completed_at)
        ]
        await self._each(outlived[:MOST], stop)

    async def _time_out(self, left: Left) -> None:
        """End an execution whose time is over. What Airflow still has of it hears so from its first task on."""
        async with self._tools.database.transaction(left.organization_id) as session:
            row = await ExecutionRepository(session, left.organization_id).lock(left.execution_id)
            again = await ReconciliationRepository(session, left.organization_id).look_again(left.execution_id)
            if row is None or again is None or again.has_runner or row.status in ENDED:
                return
            await self._ending(session, left).conclude(row, causes.OUT_OF_TIME)
        self._counts["ended"] += 1

    async def _end(self, left: Left, broken_off: StepError) -> None:
        """End an execution, unless it has come back to life."""
        async with self._tools.database.transaction(left.organization_id) as session:
            row = await ExecutionRepository(session, left.organization_id).lock(left.execution_id)
            again = await ReconciliationRepository(session, left.organization_id).look_again(left.execution_id)
            if row is None or again is None or not again.is_alone or row.status in ENDED:
                return
            await self._ending(session, left).conclude(row, broken_off)
            log.info("execution %s ended as %s: %s", row.id, row.status, (row.error or {}).get("code"))
        self._counts["ended"] += 1

    async def _order_again(self, left: Left) -> None:
        """Have a relay tell Airflow of an execution whose order was lost."""
        async with self._tools.database.transaction(left.organization_id) as session:
            executions = ExecutionRepository(session, left.organization_id)
            row = await executions.lock(left.execution_id)
            again = await ReconciliationRepository(session, left.organization_id).look_again(left.execution_id)
            if row is None or again is None or not again.is_alone or row.status != "pending":
                return
            if row.cancel_requested_at is not None:
                await self._ending(session, left).cancel(row)
                return
            version = await WorkflowRepository(session, left.organization_id).by_id(row.version_id)
            assert version is not None, "versions are never deleted"
            # What has lived before has a run, which begins again.
            kind = "restart" if row.life else "start"
            called = row.parent_execution_id is not None
            await executions.add_to_outbox(row.id, version, key=row.concurrency_key, called=called, kind=kind)
            await notifications.notify(session, notifications.OUTBOX)
        self._counts["ordered_again"] += 1

    def _ending(self, session: AsyncSession, left: Left) -> Ending:
        tools = self._tools
        return Acceptance(session, left.organization_id, tools.settings, tools.plans).ending()


def _is_older(run: Run, moment: datetime) -> bool:
    return run.queued_at is not None and run.queued_at <= moment


async def reconcile(tools: Tools) -> Counts:
    """The job: look at everything once."""
    return await Reconciler(tools).round()
