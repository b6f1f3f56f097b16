"""Keeps the large outputs of executions, and gives them back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import Database
from api.objects.places import ObjectLostError, ObjectsAwayError
from api.objects.repository import OutputRepository
from api.objects.store import Kept, ObjectStore, store_of
from api.problems import Problem
from api.settings import Settings
from operators.execution.flow import Flow
from operators.execution.outputs import INLINE_BYTES, lost_message, names_of_output, stored_output
from operators.execution.records import Finish, StepError, StepRecord, StoredOutput

log = logging.getLogger(__name__)


class OutputService:
    """Large outputs of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
        self._organization_id = organization_id
        self._settings = settings
        self._outputs = OutputRepository(session, organization_id)
        self._store = store_of(session)

    async def announce(self, execution_id: UUID, stored: StoredOutput) -> Kept:
        """Note an output that is about to be written, and say where it goes. The caller has locked the execution.

        :raises Problem: 409 where there is no object store; 413 where the execution has kept too much.
        """
        known = await self._outputs.find(stored.sha256, execution_id)
        if known is not None:
            return known
        if not self._store.takes_objects:
            detail = "An output of this size needs an object store: set AGENT_FACTORY_OBJECT_BUCKET or _OBJECT_FOLDER."
            raise Problem(409, "no_object_store", detail)
        most = self._settings.execution_outputs_max_bytes
        if await self._outputs.total(execution_id) + stored.size > most:
            detail = f"The large outputs of an execution must have at most {most:,} bytes together; this one has more."
            raise Problem(413, "outputs_quota", detail)
        location = self._store.output_location(self._organization_id, execution_id, stored.sha256)
        kept = Kept(stored.sha256, stored.size, location)
        await self._outputs.add(execution_id, kept)
        return kept

    async def find(self, sha256: str) -> Kept:
        """Return where an output of the organisation lies.

        :raises Problem: 410: there is none.
        """
        kept = await self._outputs.find(sha256)
        if kept is None:
            raise output_lost()
        return kept

    async def value(self, stored: StoredOutput) -> Any:
        """Return an output.

        :raises Problem: 410 where it is gone; 503.
        """
        data = await read(self._store, self._organization_id, await self.find(stored.sha256))
        return await asyncio.to_thread(orjson.loads, data)

    async def fill_for_end(self, journal: Mapping[str, StepRecord], flow: Flow) -> str | None:
        """Put in their places the outputs that an execution's own output is made of, if it has one.

        :return: The id of a step whose output is lost.
        """
        if flow.undecided(journal) or flow.unhandled(journal):
            return None
        names = names_of_output(flow.plan)
        for record in journal.values():
            if record.output_ref is not None and record.id in names:
                try:
                    record.output = await self.value(record.output_ref)
                except Problem as problem:
                    if problem.status != 410:
                        raise
                    return record.id
        return None

    async def keep_of_end(self, execution_id: UUID, finish: Finish, lost: str | None) -> Finish:
        """Return an end whose output is kept as an object where it is too large for a row.

        :param lost: The step whose output is lost: then an execution cannot succeed.
        """
        if finish.status != "success":
            return finish
        if lost is not None:
            return _failed(finish, "output_lost", lost_message(lost))
        data = orjson.dumps(finish.output)
        if len(data) <= INLINE_BYTES:
            return finish
        if len(data) > self._settings.result_max_bytes:
            return _failed(finish, "output_too_large", f"it has {len(data):,} bytes of JSON, which is too much")
        stored = stored_output(data)
        try:
            kept = await self.announce(execution_id, stored)
        except Problem as problem:
            if problem.code == "no_object_store":
                return finish
            return _failed(finish, "output_too_large", problem.detail)
        await write(self._store, self._organization_id, kept, data)
        return finish.model_copy(update={"output": None, "output_ref": stored})


def _failed(finish: Finish, code: str, message: str) -> Finish:
    error = StepError(code=code, message=f"`output`: {message}")
    return finish.model_copy(update={"status": "failed", "output": None, "error": error})


async def download(database: Database, settings: Settings, organization_id: UUID, stored: StoredOutput) -> bytes:
    """Return an output as JSON; no connection to the database is held while it comes.

    :raises Problem: 410 where it is gone; 503.
    """
    async with database.transaction(organization_id) as session:
        kept = await OutputService(session, organization_id, settings).find(stored.sha256)
    async with database.objects.turn():
        return await read(database.objects, organization_id, kept)


async def read(store: ObjectStore, organization_id: UUID, kept: Kept) -> bytes:
    """Return an object.

    :raises Problem: 410 where it is gone or was changed; 503 where the store does not answer.
    """
    try:
        return await store.get(organization_id, kept)
    except ObjectLostError:
        raise output_lost() from None
    except ObjectsAwayError as error:
        raise away(error) from None


async def write(store: ObjectStore, organization_id: UUID, kept: Kept, data: bytes) -> None:
    """Write an object.

    :raises Problem: 503 where the store does not answer.
    """
    try:
        await store.put(organization_id, kept.location, data)
    except ObjectsAwayError as error:
        raise away(error) from None


def output_lost() -> Problem:
    """Return the problem of an output that cannot be had any more."""
    detail = "The output must be in the object store; it is gone or was changed. Run its step again."
    return Problem(410, "output_lost", detail)


def away(error: ObjectsAwayError) -> Problem:
    """Return the problem of a store that does not answer."""
    log.warning("%s", error)
    return Problem(503, "object_store_away", "The object store does not answer; try again later.")
