"""Starting runs in Airflow again, for executions that are retried or rerun.

It may be done twice, by another relay or after a crash: until the first lease of the execution's new life all that is
lost by clearing a run once more is time, and after it nothing is done.
"""

from __future__ import annotations

from api.adoption.repository import AdoptedRunRepository
from api.database import Database
from api.executions.acceptance import Acceptance
from api.executions.repository import ExecutionRepository
from api.relay.airflow import AirflowClient
from api.relay.repository import Entry, OutboxRepository
from api.settings import Settings
from api.workflows.plans import PlanCache

LOOKS_BEFORE_STOP = 8
"""After so many looks (7 s) at a run that should have ended with its execution, it is stopped."""


class RunNotOverError(Exception):
    """The run of the execution's former life has not come to its end in Airflow. Trying again later helps."""


class Restarting:
    """Has Airflow's runs begin again."""

    def __init__(self, settings: Settings, database: Database, airflow: AirflowClient, plans: PlanCache) -> None:
        self._settings = settings
        self._database = database
        self._airflow = airflow
        self._plans = plans

    async def restart(self, entry: Entry) -> bool:
        """Clear the entry's run. False where Airflow has none, and a new one has to be started.

        :raises RunNotOverError: It still comes to its end; it is cleared then.
        :raises AirflowAwayError: Airflow does not answer.
        :raises AirflowRefusedError: It refuses.
        """
        run_id = await self._run_to_clear(entry)
        if run_id is None:
            return True
        state = await self._airflow.run_state(entry.dag_id, run_id)
        if state is None:
            return not await self._make_way(entry)
        if state not in ("success", "failed"):
            if entry.attempts > LOOKS_BEFORE_STOP:
                await self._airflow.stop_run(entry.dag_id, run_id)
            raise RunNotOverError(f"the run is {state} and has still to end before it can begin again")
        await self._airflow.clear_run(entry.dag_id, run_id)
        return True

    async def _run_to_clear(self, entry: Entry) -> str | None:
        """Return the id of the run in Airflow; None where there is nothing to do any more."""
        async with self._database.transaction(entry.organization_id) as session:
            row = await ExecutionRepository(session, entry.organization_id).get(entry.execution_id)
            if row is None or not row.awaits_restart:
                return None  # it runs already, or was cancelled
            if await OutboxRepository(session, entry.organization_id).is_stopping(entry.execution_id):
                raise RunNotOverError("the run has still to be stopped before it can begin again")
            adopted = await AdoptedRunRepository(session, entry.organization_id).run_id_of(entry.execution_id)
            return adopted or str(entry.execution_id)

    async def _make_way(self, entry: Entry) -> bool:
        """Prepare the execution for a new run; False where there can be none, and the execution has failed by that."""
        async with self._database.transaction(entry.organization_id) as session:
            row = await ExecutionRepository(session, entry.organization_id).lock(entry.execution_id)
            if row is None or not row.awaits_restart:
                return False
            number, digest = await OutboxRepository(session, entry.organization_id).newest_version(entry.agent_id)
            if row.plan_digest not in (None, digest):
                message = (
                    "An execution must run on its own version of the workflow; Airflow has deleted its run, and a new "
                    f"one would be of version {number}. Start a new execution."
                )
                acceptance = Acceptance(session, entry.organization_id, self._settings, self._plans)
                await acceptance.ending().end(row, "failed", error={"code": "run_deleted", "message": message})
                return False
            # A new run's clear number is 0, and its id is the execution's.
            row.clear_number = -1
            await AdoptedRunRepository(session, entry.organization_id).forget(row.id)
            return True
