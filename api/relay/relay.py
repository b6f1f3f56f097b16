"""Takes outbox entries and starts Airflow runs, several at a time. Any number of relays may run at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from api import notifications
from api.database import Database
from api.executions.repository import ExecutionRepository
from api.notifications import Listener
from api.relay.airflow import AirflowAwayError, AirflowClient, AirflowRefusedError
from api.relay.repository import Entry, OutboxRepository, take_entries
from api.settings import Settings

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
                    entries = await take_entries(session, room, HOLD_SECONDS)
        except (SQLAlchemyError, OSError) as error:
            log.warning("relay: the database does not answer (%s)", type(error).__name__)
        for entry in entries:
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
        trouble = await self._start(entry)
        if trouble is None:
            async with self._database.transaction() as session:
                await OutboxRepository(session, entry.organization_id).done(entry.id)
        elif self._is_hopeless(entry, trouble):
            await self._give_up(entry, trouble.message)
        else:
            await self._postpone(entry, trouble)

    async def _start(self, entry: Entry) -> _Trouble | None:
        """Start the entry's run; return what is in the way."""
        try:
            if await self._is_loaded(entry) and await self._airflow.start_run(entry.dag_id, str(entry.execution_id)):
                return None
        except AirflowAwayError as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds)
        except AirflowRefusedError as error:
            return _Trouble(str(error), self._settings.relay_unreachable_seconds, refused=True)
        self._loaded.pop(entry.dag_id, None)
        if entry.attempts % ATTEMPTS_BEFORE_PUSH == 0:
            await self._airflow.push(entry.dag_id)
        message = f"Airflow has not loaded the newest version of {entry.dag_id}"
        return _Trouble(message, self._settings.relay_missing_dag_seconds)

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
        log.error("relay: execution %s was not scheduled: %s", entry.execution_id, message)
        async with self._database.transaction() as session:
            await OutboxRepository(session, entry.organization_id).bury(entry.id, message)
            error = {"code": "not_scheduled", "message": f"The execution could not be started in Airflow: {message}."}
            executions = ExecutionRepository(session, entry.organization_id)
            if await executions.fail(entry.execution_id, error):
                await notifications.notify(session, notifications.EXECUTIONS, str(entry.execution_id))
