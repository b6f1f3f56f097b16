"""Takes outbox entries and starts or stops Airflow runs, several at a time. Any number of relays may run at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.adoption.repository import AdoptedRunRepository
from api.database import Database
from api.executions.acceptance import Acceptance
from api.executions.ending import Ending
from api.executions.repository import ENDED, ExecutionRepository
from api.notifications import Listener
from api.relay.airflow import AirflowAwayError, AirflowClient, AirflowRefusedError
from api.relay.repository import Entry, OutboxRepository, take_entries
from api.relay.restarting import Restarting, RunNotOverError
from api.settings import Settings
from api.workflows.plans import PlanCache

log = logging.getLogger(__name__)

HOLD_SECONDS = 120.0
"""How long a taken entry is its relay's; longer than all requests to Airflow for one entry may take."""
FIRST_DELAY_SECONDS = 0.3
LONGEST_DELAY_SECONDS = 2.0
ATTEMPTS_BEFORE_PUSH = 8
"""After so many looks (7 s) at a DAG that is not the newest version, Airflow is asked to parse its file again."""


@dataclass(frozen=True)
class _Trouble:
    """Why an entry could not be done, for how long that may go on, and whether Airflow refused it."""

    message: str
    limit_seconds: float
    refused: bool = False


class Relay:
    """One relay.

    :param listener: Wakes it when an execution is accepted; a slow poll finds what was missed.
    """

    def __init__(self, settings: Settings, database: Database, listener: Listener, airflow: AirflowClient) -> None:
        self._settings = settings
        self._database = database
        self._listener = listener
        self._airflow = airflow
        self._loaded: dict[str, int] = {}
        """DAG id -> the version Airflow was last seen to have loaded."""
        self._plans = PlanCache()
        self._restarting = Restarting(settings, database, airflow, self._plans)
        self._served: UUID | None = None
        """The organisation that had its turn last."""
        self._at_work: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Relay until cancelled; then wait for what is at work."""
        async with self._listener.subscribed(notifications.OUTBOX) as news:
            self._wake = news
            try:
                while True:
                    await self._round()
            finally:
                await asyncio.gather(*self._at_work, return_exceptions=True)

    async def _round(self) -> None:
        """Take as many entries as there is room for; sleep where there are none, or no room."""
        self._wake.clear()
        room = self._settings.relay_in_flight - len(self._at_work)
        entries: list[Entry] = []
        try:
            if room > 0:
                async with self._database.transaction() as session:
                    entries = await take_entries(session, room, HOLD_SECONDS, self._served)
        except (SQLAlchemyError, OSError) as error:
            log.warning("relay: the database does not answer (%s)", type(error).__name__)
        for entry in entries:
            self._served = entry.organization_id
            task = asyncio.create_task(self._relay(entry))
            self._at_work.add(task)
            task.add_done_callback(self._done)
        if len(entries) < room or room <= 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.relay_poll_seconds):
                    await self._wake.wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("relay: an entry could not be relayed; it comes back later", exc_info=error)

    async def _relay(self, entry: Entry) -> None:
        trouble = await (self._stop(entry) if entry.kind == "stop" else self._start(entry))
        if trouble is None:
            async with self._database.transaction() as session:
                await OutboxRepository(session, entry.organization_id).done(entry.id)
        elif self._is_hopeless(entry, trouble):
            await self._give_up(entry, trouble.message)
        else:
            await self._postpone(entry, trouble)

    async def _start(self, entry: Entry) -> _Trouble | None:
        """Start the entry's run, or start it again; return what is in the way."""
        try:
            if entry.kind == "restart" and await self._restarting.restart(entry):
                return None
            if await self._is_loaded(entry) and await self._airflow.start_run(entry.dag_id, str(entry.execution_id)):
                return None
        except (AirflowAwayError, RunNotOverError) as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds)
        except AirflowRefusedError as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds, refused=True)
        self._loaded.pop(entry.dag_id, None)
        if entry.attempts % ATTEMPTS_BEFORE_PUSH == 0:
            await self._airflow.push(entry.dag_id)
        message = f"Airflow has not loaded the newest version of {entry.dag_id}"
        return _Trouble(message, self._settings.relay_missing_dag_seconds)

    async def _stop(self, entry: Entry) -> _Trouble | None:
        """Stop the run of a cancelled execution; return what is in the way.

        The runners end the execution themselves. If they do not come back, it is ended here.
        """
        async with self._database.transaction() as session:
            executions = ExecutionRepository(session, entry.organization_id)
            row = await executions.lock(entry.execution_id)
            if row is None or row.cancel_requested_at is None:
                return None  # it was reopened meanwhile
            await self._ending(session, entry.organization_id).cancel(row)
            if row.status in ENDED and row.status != "cancelled":
                return None  # it came to its own end before its runners heard; so does Airflow's run
            if row.status not in ENDED:
                return _Trouble("the runners are still at work", self._settings.relay_unreachable_seconds)
            adopted = await AdoptedRunRepository(session, entry.organization_id).run_id_of(entry.execution_id)
        try:
            await self._airflow.stop_run(entry.dag_id, adopted or str(entry.execution_id))
        except AirflowAwayError as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds)
        except AirflowRefusedError as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds, refused=True)
        return None

    def _ending(self, session: AsyncSession, organization_id: UUID) -> Ending:
        return Acceptance(session, organization_id, self._settings, self._plans).ending()

    async def _is_loaded(self, entry: Entry) -> bool:
        """Tell whether Airflow's DAG is the newest version: a run never starts on an older graph than that."""
        async with self._database.transaction() as session:
            number, digest = await OutboxRepository(session, entry.organization_id).newest_version(entry.agent_id)
        if self._loaded.get(entry.dag_id) == number:
            return True
        tags = await self._airflow.dag_tags(entry.dag_id)
        if tags is None or f"plan:{digest[:12]}" not in tags:
            return False
        self._loaded[entry.dag_id] = number
        return True

    def _is_hopeless(self, entry: Entry, trouble: _Trouble) -> bool:
        if trouble.refused and entry.refusals + 1 >= self._settings.relay_max_refusals:
            return True
        return entry.age_seconds > trouble.limit_seconds

    async def _postpone(self, entry: Entry, trouble: _Trouble) -> None:
        # Only the first attempts need to be quick: a DAG is loaded within seconds of its publish.
        delay = min(FIRST_DELAY_SECONDS * 1.3 ** (min(entry.attempts, 20) - 1), LONGEST_DELAY_SECONDS)
        async with self._database.transaction() as session:
            outbox = OutboxRepository(session, entry.organization_id)
            await outbox.postpone(entry.id, delay, error=trouble.message, refused=trouble.refused)
        asyncio.get_running_loop().call_later(delay, self._wake.set)

    async def _give_up(self, entry: Entry, message: str) -> None:
        """Bury the entry and fail its execution, so that nothing stays pending for ever."""
        log.error("relay: execution %s: giving up to %s its run: %s", entry.execution_id, entry.kind, message)
        async with self._database.transaction() as session:
            # The execution's row first, as everywhere: who locks in another order may wait for ever.
            row = await ExecutionRepository(session, entry.organization_id).lock(entry.execution_id)
            await OutboxRepository(session, entry.organization_id).bury(entry.id, message)
            if row is not None and row.status == "pending":
                detail = f"The execution could not be started in Airflow: {message}."
                error = {"code": "not_scheduled", "message": detail}
                await self._ending(session, entry.organization_id).end(row, "failed", error=error)
