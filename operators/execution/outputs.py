"""Outputs that are too large for the journal: the store keeps them apart, and the journal says which and how large.

A workflow sees no difference: before a unit's steps start, the values that they may read are put in their places.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

import orjson
from pydantic import JsonValue
from pydantic_core import to_json

from compiler.plan import Plan, Step
from operators.execution.bodies import is_of_body, top_level
from operators.execution.clock import Clock
from operators.execution.patience import patiently
from operators.execution.records import Finish, StepError, StepRecord, StoredOutput
from operators.execution.store import ExecutionStore, OutputRefusedError, RejectedError
from operators.settings import result_max_bytes
from operators.steps.base import StepFailedError

INLINE_BYTES = 1_000_000
"""Outputs up to this size are in the journal itself."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def stored_output(data: bytes) -> StoredOutput:
    """Return what the journal says of an output."""
    return StoredOutput(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def lean(record: StepRecord) -> StepRecord:
    """Return a record without the output that is kept elsewhere."""
    return record if record.output_ref is None else record.model_copy(update={"output": None})


def output_bytes(output: JsonValue) -> bytes:
    """Return an output as JSON.

    :raises StepFailedError: ``invalid_output``: it holds halves of surrogate pairs or infinity. ``output_too_large``.
    """
    try:
        data = to_json(output, inf_nan_mode="constants")
        orjson.loads(data)
    except ValueError:
        message = "an output must be JSON in UTF-8; got text or a number that is none"
        raise StepFailedError("invalid_output", message, retryable=False) from None
    most = result_max_bytes()
    if len(data) > most:
        message = f"an output must have at most {most:,} bytes of JSON; got {len(data):,}. Pass on less"
        raise StepFailedError("output_too_large", message, retryable=False)
    return data


class Outputs:
    """The large outputs of one execution, as one unit's runner sees them.

    :param store: Keeps them.
    """

    def __init__(self, store: ExecutionStore, execution_id: str, clock: Clock) -> None:
        self._store = store
        self._execution_id = execution_id
        self._clock = clock
        self._values: dict[str, JsonValue] = {}
        self._lost: set[str] = set()

    async def keep(self, output: JsonValue) -> StoredOutput | None:
        """Have an output kept where it is too large for the journal; None where it belongs there.

        :raises StepFailedError: ``invalid_output`` or ``output_too_large``.
        :raises StoreError: The store stayed away.
        """
        data = output_bytes(output)
        if len(data) <= INLINE_BYTES:
            return None
        stored = await asyncio.to_thread(stored_output, data)
        try:
            is_kept = await patiently(lambda: self._store.keep_output(self._execution_id, stored, data), self._clock)
        except OutputRefusedError as refusal:
            raise StepFailedError("output_too_large", str(refusal), retryable=False) from None
        if not is_kept:
            return None
        self._values[stored.sha256] = output
        return stored

    async def load(self, stored: StoredOutput) -> JsonValue:
        """Return an output that was kept.

        :raises RejectedError: It is gone, or is not what was kept.
        :raises StoreError: The store stayed away.
        """
        if stored.sha256 not in self._values:
            data = await patiently(lambda: self._store.load_output(self._execution_id, stored), self._clock)
            self._values[stored.sha256] = await asyncio.to_thread(parsed, stored, data)
        return self._values[stored.sha256]

    async def fill(self, records: Iterable[StepRecord], names: Collection[str]) -> None:
        """Put the outputs of some steps in their places; note which are lost.

        :param names: Ids of the plan's steps; with a map go the steps of its body.
        """
        for record in records:
            if record.output_ref is None or top_level(record.id) not in names:
                continue
            try:
                record.output = await self.load(record.output_ref)
            except RejectedError:
                self._lost.add(top_level(record.id))

    async def fill_for_unit(self, journal: Mapping[str, StepRecord], steps: Iterable[Step]) -> None:
        """Put in their places the outputs that a unit's steps may read, and those of its maps' bodies."""
        if any(record.output_ref is not None for record in journal.values()):
            await self.fill(journal.values(), {name for step in steps for name in _names(step)})

    async def fill_for_end(self, journal: Mapping[str, StepRecord], plan: Plan) -> None:
        """Put in their places the outputs that the execution's own output is made of, if it has one."""
        if any(record.output_ref is not None for record in journal.values()):
            outer = [record for record in journal.values() if not is_of_body(record.id)]
            await self.fill(outer, names_of_output(plan))

    def check(self, step: Step) -> None:
        """Refuse to run a step that may read what is lost.

        :raises StepFailedError: ``output_lost``.
        """
        if self._lost:
            lost = sorted(self._lost.intersection(_names(step)))
            if lost:
                raise StepFailedError("output_lost", lost_message(lost[0]), retryable=False)

    async def keep_of_end(self, finish: Finish, plan: Plan) -> Finish:
        """Return an end whose output is kept elsewhere where it is too large; an end without output where it must
        not be one."""
        if finish.status != "success":
            return finish
        try:
            lost = sorted(self._lost.intersection(names_of_output(plan)))
            if lost:
                raise StepFailedError("output_lost", lost_message(lost[0]), retryable=False)
            stored = await self.keep(finish.output)
        except StepFailedError as failure:
            error = StepError(code=failure.code, message=f"`output`: {failure.message}")
            return finish.model_copy(update={"status": "failed", "output": None, "error": error})
        return finish if stored is None else finish.model_copy(update={"output": None, "output_ref": stored})


def parsed(stored: StoredOutput, data: bytes) -> JsonValue:
    """Return the value of what was kept.

    :raises RejectedError: It is something else.
    """
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise RejectedError("an output that was kept is not the same any more")
    value: JsonValue = orjson.loads(data)
    return value


def lost_message(step_id: str) -> str:
    """Return the sentence about an output that cannot be had any more."""
    return f"the output of step {step_id!r} must be in the object store; it is gone or was changed. Run that step again"


def names_of_output(plan: Plan) -> set[str]:
    """Return the ids of the steps that a plan's own output is made of, and some other words."""
    if plan.has_output:
        return set(_NAME.findall(to_json(plan.output).decode()))
    return {step.id for step in plan.steps if not step.edges}


def _names(step: Step) -> set[str]:
    """Return the words of a step's description: ids of what it reads are among them. Whatever else is, costs at most
    a value that nobody looks at."""
    return set(_NAME.findall(step.model_dump_json()))
