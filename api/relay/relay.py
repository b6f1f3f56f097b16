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
from api.executions.repository import ENDED, NOT_SCHEDULED, ExecutionRepository
from api.notifications import Listener
from api.relay.airflow import AirflowAwayError, AirflowClient, AirflowRefusedError
from api.relay.outages import Outage, backoff
from api.relay.pods import PodRemoval
from api.relay.repository import Entry, Limits, OutboxRepository, take_entries
from api.relay.restarting import Restarting, RunNotOverError
from api.settings import Settings
from api.workflows.plans import PlanCache
from compiler.pins import pinned_number

log = logging.getLogger(__name__)

LONGEST_DELAY_SECONDS = 2.0
"""Of one entry, and of all whose DAG Airflow does not show. A DAG is loaded within seconds of its publish."""
LONGEST_OUTAGE_DELAY_SECONDS = 30.0
"""Of all entries while Airflow is away."""
ATTEMPTS_BEFORE_PUSH = 8
"""After so many looks (7 s) at a DAG that is not the newest version, Airflow is asked to parse its file again."""


@dataclass(frozen=True)
class _Trouble:
    """Why an entry could not be done.

    :param limit_seconds: For how long that may go on.
    :param refused: Whether Airflow refused it.
    :param outage: What is out of order for other entries too.
    :param probed_by_others: Whether another entry should be the next to look whether that is over.
    """

    message: str
    limit_seconds: float
    refused: bool = False
    outage: Outage | None = None
    probed_by_others: bool = False


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
        self._away = Outage(LONGEST_OUTAGE_DELAY_SECONDS)
        """Of Airflow itself."""
        self._missing: dict[UUID, Outage] = {}
        """Workflow -> that Airflow does not show its newest version."""
        self._limits = Limits(settings.max_running_per_organization, settings.max_running)
        self._plans = PlanCache()
        self._restarting = Restarting(settings, database, airflow, self._plans)
        self._pods = PodRemoval(settings, database)
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
        room = self._room()
        entries: list[Entry] = []
        try:
            if room > 0:
                entries = await self._take(room)
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

    def _room(self) -> int:
        """Tell how many entries may be taken. While Airflow is away, one at a time looks whether it is back."""
        if self._away.lasts and self._away.seconds_left == 0:
            return 0 if self._at_work else 1
        return self._settings.relay_in_flight - len(self._at_work)

    async def _take(self, room: int) -> list[Entry]:
        async with self._database.system() as session:
            return await take_entries(
                session,
                room,
                self._settings.relay_hold_seconds,
                self._served,
                limits=self._limits,
                missing=[agent_id for agent_id, outage in self._missing.items() if outage.seconds_left > 0],
                only_stops=self._away.seconds_left > 0,
            )

    def _done(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("relay: an entry could not be relayed; it comes back later", exc_info=error)

    async def _relay(self, entry: Entry) -> None:
        trouble = await (self._stop(entry) if entry.kind == "stop" else self._start(entry))
        if trouble is not None and trouble.outage is not None:
            self._look_again_in(trouble.outage.seconds_left)
        if trouble is None:
            async with self._database.transaction(entry.organization_id) as session:
                await OutboxRepository(session, entry.organization_id).done(entry.id)
        elif self._is_hopeless(entry, trouble):
            await self._give_up(entry, trouble.message)
        else:
            await self._postpone(entry, trouble)

    async def _start(self, entry: Entry) -> _Trouble | None:
        """Start the entry's run, or start it again; return what is in the way."""
        try:
            if entry.kind == "restart" and await self._restarting.restart(entry):
                self._away.end()
                return None
            is_started = await self._is_loaded(entry) and await self._airflow.start_run(
                entry.dag_id, str(entry.execution_id)
            )
        except RunNotOverError as error:
            self._away.end()
            return _Trouble(str(error), self._settings.relay_unreachable_seconds)
        except (AirflowAwayError, AirflowRefusedError) as error:
            return self._failed(entry, error)
        self._away.end()
        if is_started:
            self._missing.pop(entry.agent_id, None)
            return None
        return await self._not_loaded(entry)

    async def _not_loaded(self, entry: Entry) -> _Trouble:
        """Return the trouble of an entry whose DAG Airflow has not loaded, and have it loaded."""
        self._loaded.pop(entry.dag_id, None)
        if entry.attempts % ATTEMPTS_BEFORE_PUSH == 0:
            await self._airflow.push(entry.dag_id)
        message = f"Airflow has not loaded the newest version of {entry.dag_id}"
        if pinned_number(entry.dag_id) is not None:
            # The workflow's own DAG may well be there: nobody else is held back.
            return _Trouble(message, self._settings.relay_missing_dag_seconds)
        outage = self._missing.setdefault(entry.agent_id, Outage(LONGEST_DELAY_SECONDS))
        outage.begin_or_go_on(entry.tried_seconds)
        return _Trouble(message, self._settings.relay_missing_dag_seconds, outage=outage)

    def _failed(self, entry: Entry, error: AirflowAwayError | AirflowRefusedError) -> _Trouble:
        """Return the trouble of a request that failed, and note what it tells of Airflow as a whole."""
        limit = self._settings.relay_unreachable_seconds
        if isinstance(error, AirflowRefusedError):
            self._away.end()
            return _Trouble(str(error), limit, refused=True)
        if error.as_a_whole:
            self._away.begin_or_go_on(entry.tried_seconds, at_least=error.retry_after)
        else:
            self._away.suspect(entry.id, entry.tried_seconds)
        # The one that fails may do so by itself (it takes Airflow too long, say): another one is to find out.
        return _Trouble(str(error), limit, outage=self._away, probed_by_others=True)

    async def _stop(self, entry: Entry) -> _Trouble | None:
        """Stop what is left of an execution that ended or is being cancelled; return what is in the way.

        The runners end a cancelled execution themselves. If they do not come back, it is ended here. Its pods go first:
        they are what still works for it. Airflow's run is stopped of a cancelled one only.
        """
        async with self._database.transaction(entry.organization_id) as session:
            executions = ExecutionRepository(session, entry.organization_id)
            row = await executions.lock(entry.execution_id)
            if row is None:
                return None
            if row.cancel_requested_at is not None:
                await self._ending(session, entry.organization_id).cancel(row)
                if row.status not in ENDED:
                    return _Trouble("the runners are still at work", self._settings.relay_unreachable_seconds)
            elif row.status not in ENDED:
                return None  # it was reopened meanwhile
            status = row.status
            adopted = await AdoptedRunRepository(session, entry.organization_id).run_id_of(entry.execution_id)
        await self._pods.remove(entry.organization_id, entry.execution_id)
        if status != "cancelled":
            return None  # it came to its own end; so does Airflow's run
        if self._away.seconds_left:
            return _Trouble("Airflow is away", self._settings.relay_unreachable_seconds, outage=self._away)
        try:
            await self._airflow.stop_run(entry.dag_id, adopted or str(entry.execution_id))
        except (AirflowAwayError, AirflowRefusedError) as error:
            return self._failed(entry, error)
        self._away.end()
        return None

    def _ending(self, session: AsyncSession, organization_id: UUID) -> Ending:
        return Acceptance(session, organization_id, self._settings, self._plans).ending()

    async def _is_loaded(self, entry: Entry) -> bool:
        """Tell whether Airflow's DAG is the newest version, or the one it is pinned to: a run never starts on an older
        graph than that."""
        async with self._database.transaction(entry.organization_id) as session:
            outbox = OutboxRepository(session, entry.organization_id)
            number, digest = await outbox.newest_version(entry.agent_id, pinned_number(entry.dag_id))
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
        # Many wait for the same: none but the first would ever have tried for long.
        lasting = max(entry.tried_seconds, trouble.outage.seconds if trouble.outage else 0.0)
        return min(entry.age_seconds, lasting) > trouble.limit_seconds

    async def _postpone(self, entry: Entry, trouble: _Trouble) -> None:
        delay = backoff(entry.attempts, LONGEST_DELAY_SECONDS)
        left = trouble.outage.seconds_left if trouble.outage else 0.0
        delay = delay + left if trouble.probed_by_others else max(delay, left)
        async with self._database.transaction(entry.organization_id) as session:
            outbox = OutboxRepository(session, entry.organization_id)
            await outbox.postpone(entry.id, entry.attempts, delay, error=trouble.message, refused=trouble.refused)
        self._look_again_in(delay)

    def _look_again_in(self, seconds: float) -> None:
        # A little later, so that what is due then is due.
        asyncio.get_running_loop().call_later(seconds + 0.01, self._wake.set)

    async def _give_up(self, entry: Entry, message: str) -> None:
        """Bury the entry and fail its execution, so that nothing stays pending for ever."""
        log.error("relay: execution %s: giving up to %s its run: %s", entry.execution_id, entry.kind, message)
        async with self._database.transaction(entry.organization_id) as session:
            # The execution's row first, as everywhere: who locks in another order may wait for ever.
            row = await ExecutionRepository(session, entry.organization_id).lock(entry.execution_id)
            buried = await OutboxRepository(session, entry.organization_id).bury(entry.id, entry.attempts, message)
            if buried and row is not None and row.status == "pending":
                detail = f"The execution could not be started in Airflow: {message}."
                error = {"code": NOT_SCHEDULED, "message": detail}
                await self._ending(session, entry.organization_id).end(row, "failed", error=error)
