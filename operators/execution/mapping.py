"""Runs a ``map``: its body once for each item, a few items at a time.

Inside of an item the steps are as parallel as the edges allow, by the same verdicts as outside. Each result is
journaled under ``map[index].step`` before its successors start, so that after a crash no step of a body is called
twice.

A body may wait. Where nobody holds a process for that, the map gives its own back once nothing in it runs; when it runs
again, what waited goes on first.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from pydantic import JsonValue

from compiler.expressions import EvaluationError
from compiler.plan import Step
from operators.execution.attempts import StepRun, internal_error
from operators.execution.bodies import body_prefix, records_by_item
from operators.execution.flow import Progress, StepFlow, is_waiting
from operators.execution.groups import root_cause
from operators.execution.records import StepError, StepRecord
from operators.execution.scope import PENDING, enter
from operators.execution.store import StoreError
from operators.execution.waiting import HaltedWhileWaitingError, ParkedError, after, earliest, together
from operators.steps.base import StepFailedError, StepResult, Wake
from operators.steps.map import Items, item_result

LASTING = ("success", "failed", "skipped")
"""What of an item's journal counts when its map runs again. What was cut off or cancelled then runs after all."""


class Host:
    """What maps need of the unit that runs them.

    :param journal: The unit's journal at its start.
    :param running: The steps at work, by their ids in the journal; those of bodies are entered too.
    :param make: Makes the run of a step; also gets its id in the journal.
    :param write: Journals records; returns once they are durable.
    :param stopped: Tells whether nothing may start any more.
    """

    def __init__(
        self,
        journal: Mapping[str, StepRecord],
        running: dict[str, StepRun],
        make: Callable[[Step, str], StepRun],
        write: Callable[[list[StepRecord]], Awaitable[None]],
        stopped: Callable[[], bool],
    ) -> None:
        self.running = running
        self.make = make
        self.write = write
        self.stopped = stopped
        self._items = records_by_item(journal)
        self._flows: dict[str, StepFlow] = {}

    def flow(self, step: Step) -> StepFlow:
        """Return the edges of a map's body."""
        if step.id not in self._flows:
            self._flows[step.id] = StepFlow(step.body)
        return self._flows[step.id]

    def journaled(self, prefix: str) -> dict[str, StepRecord]:
        """Return what is known of an item's steps from an earlier run."""
        records = self._items.get(prefix, {})
        return {name: record for name, record in records.items() if record.status in LASTING}

    def waiting(self, prefix: str) -> frozenset[str]:
        """Return the item's steps that waited when the map gave its process back."""
        return frozenset(name for name, record in self._items.get(prefix, {}).items() if is_waiting(record))


async def _give_up(wake: Wake) -> None:
    """Wait no longer: the step takes back what it has begun."""
    raise HaltedWhileWaitingError


class MapRun(StepRun):
    """Runs a step with a body. A stub stands in for the whole map."""

    def __init__(self, *arguments: Any, host: Host, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._host = host
        self._flow = host.flow(self.step)
        self._begun: dict[int, _Item] = {}
        self._errors: dict[int, StepError] = {}
        self.out_of_time = False
        self.halted = False

    def cut_off(self) -> list[StepRecord]:
        """Close what runs, and decide what will never run; return the records."""
        return [record for item in self._begun.values() for record in item.cut_off()]

    def may_start(self) -> bool:
        """Tell whether a step of the body may start now; what has waited goes on in any case."""
        return not (self._host.stopped() or self.halted or self.out_of_time or (self._errors and self._fails_fast))

    @property
    def _fails_fast(self) -> bool:
        return self.step.config.get("on_item_error") != "continue"

    async def _attempt(self, handler: Any, request: Any) -> StepResult:
        if self.record.id in self._stubs:
            return await super()._attempt(handler, request)
        try:
            return StepResult(await self._in_time(request))
        except (StepFailedError, StoreError, ParkedError, HaltedWhileWaitingError):
            raise
        except Exception as error:
            raise internal_error(error) from None

    def _deadline(self) -> datetime | None:
        assert self.record.started_at is not None, "a step that runs has begun"
        return after(self.record.started_at, self.step.timeout_seconds)

    async def _in_time(self, items: Items) -> list[JsonValue]:
        deadline = self._deadline()
        left = None if deadline is None else (deadline - self._clock.now()).total_seconds()
        # It may be over since the map gave its process back: then the bodies only take back what they have begun.
        self.out_of_time = left is not None and left <= 0
        try:
            async with asyncio.timeout(None if self.out_of_time else left) as timer:
                results = await self._results(items)
        except TimeoutError:
            if not timer.expired():
                raise
            self.out_of_time = True
            results = []
        if self.out_of_time:
            await self._host.write(self.cut_off())
            limit = self.step.timeout_seconds
            raise StepFailedError("timeout", f"the map took longer than {limit:g} s", retryable=False)
        return results

    async def _results(self, items: Items) -> list[JsonValue]:
        count = len(items.values)
        results: list[JsonValue] = [None] * count
        self._errors |= self._known_errors(count)
        waited = [index for index in range(count) if self._host.waiting(body_prefix(self.record.id, index))]
        todo = deque([*waited, *sorted(set(range(count)).difference(waited))])
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(cast(int, self.step.config["concurrency"]), count)):
                    group.create_task(self._work(todo, frozenset(waited), items, results))
        except BaseExceptionGroup as errors:
            raise root_cause(errors) from None
        if self.out_of_time:
            return results
        self._wait_for_items()
        if self._errors and self._fails_fast:
            error = self._errors[min(self._errors)]
            raise StepFailedError(error.code, error.message, retryable=False)
        if self._begun or todo:
            # Items are left, and the execution came to its end elsewhere.
            raise HaltedWhileWaitingError
        return results

    def _wait_for_items(self) -> None:
        """Give the process back if an item waits.

        :raises ParkedError: One does.
        """
        wakes = [wake for item in self._begun.values() for wake in item.wakes]
        if wakes:
            wake = together(wakes, self._clock.now())
            raise ParkedError(replace(wake, until=earliest(wake.until, self._deadline())))

    def _known_errors(self, count: int) -> dict[int, StepError]:
        """Return the failures that an earlier run has journaled: they still stop a map that fails at the first."""
        errors: dict[int, StepError] = {}
        for index in range(count if self._fails_fast else 0):
            prefix = body_prefix(self.record.id, index)
            failed = self._flow.unhandled(self._host.journaled(prefix))
            if failed:
                errors[index] = step_error(prefix, failed[0])
        return errors

    async def _work(self, todo: deque[int], waited: frozenset[int], items: Items, results: list[JsonValue]) -> None:
        """Run one item after the other."""
        while todo and (self.may_start() or todo[0] in waited):
            index = todo.popleft()
            item = _Item(self, self._host, self._flow, index, self._scope(items, index))
            self._begun[index] = item
            await item.run()
            if item.error is not None:
                self._errors[index] = item.error
            elif item.complete:
                results[index] = item.result
            else:
                # It stays among the begun, and keeps its place: the map has no result yet.
                return
            del self._begun[index]

    def _scope(self, items: Items, index: int) -> MutableMapping[str, Any]:
        """Return the names the body sees for an item: the map's, the item's and its own steps."""
        names: dict[str, Any] = {cast(str, self.step.config["as"]): items.values[index]}
        names.update((step_id, PENDING) for step_id in self._flow.steps)
        return ChainMap(names, cast(MutableMapping[str, Any], items.scope))


class _Item:
    """The body of a map for one item.

    :param scope: What its steps see.
    """

    def __init__(self, owner: MapRun, host: Host, flow: StepFlow, index: int, scope: MutableMapping[str, Any]) -> None:
        self._owner = owner
        self._host = host
        self._flow = flow
        self._prefix = body_prefix(owner.record.id, index)
        self._scope = scope
        known = host.journaled(self._prefix)
        self._progress = Progress(flow, known)
        self._running: dict[str, StepRun] = {}
        self._waited = host.waiting(self._prefix)
        self._failed = bool(flow.unhandled(known))
        for record in known.values():
            enter(scope, record)
        self.result: JsonValue = None
        self.error: StepError | None = None
        self.complete = False
        self.wakes: list[Wake] = []

    async def run(self) -> None:
        """Bring the item to its end: a result, an error, or neither where it waits or nothing may start any more."""
        async with asyncio.TaskGroup() as group:
            advance = self._progress.open()
            may_start = self._may_start()
            self._start(group, [name for name in advance.ready if may_start or name in self._waited])
            await self._journal(self._skipped(advance.skipped))
        if not self.wakes and not self._owner.out_of_time:
            await self._journal(self._left_over())
            self._conclude()

    def cut_off(self) -> list[StepRecord]:
        """Close what runs, and decide what will never run; return the records."""
        records: list[StepRecord] = []
        for name, run in self._running.items():
            if isinstance(run, MapRun):
                records += run.cut_off()
            run.close("cancelled")
            self._host.running.pop(run.record.id, None)
            self._note(name, run.record)
            records.append(run.record)
        self._running.clear()
        return records + self._left_over()

    def _may_start(self) -> bool:
        return not self._failed and self._owner.may_start()

    def _start(self, group: asyncio.TaskGroup, names: Iterable[str]) -> None:
        for name in names:
            run = self._host.make(self._flow.steps[name], self._prefix + name)
            self._running[name] = self._host.running[run.record.id] = run
            enter(self._scope, _inside(name, run.record))
            group.create_task(self._run(group, name, run))

    async def _run(self, group: asyncio.TaskGroup, name: str, run: StepRun) -> None:
        if not await self._ended(name, run):
            return
        record = _inside(name, run.record)
        # From here on nothing of the item starts, even while the record is on its way to the journal.
        self._failed = self._failed or self._flow.is_unhandled(record)
        advance = self._progress.add(record)
        enter(self._scope, record)
        await self._journal([run.record, *self._skipped(advance.skipped)])
        if self._may_start():
            self._start(group, advance.ready)

    async def _ended(self, name: str, run: StepRun) -> bool:
        """Run a step; tell whether it came to its end."""
        if self._owner.out_of_time:
            run.wait = _give_up
        try:
            await run.run(self._scope)
        except ParkedError as parked:
            self.wakes.append(parked.wake)
        except HaltedWhileWaitingError:
            if self._owner.out_of_time:
                # The map closes it.
                return False
            self._owner.halted = True
        del self._running[name], self._host.running[run.record.id]
        if self.wakes and run.record.status == "running":
            await self._journal([run.record])
        return run.record.status != "running"

    def _skipped(self, names: Iterable[str]) -> list[StepRecord]:
        return [self._outside(name, self._progress.journal[name]) for name in names]

    def _left_over(self) -> list[StepRecord]:
        """Return the records of the steps that nobody will run; none where all are decided."""
        if not self._flow.undecided(self._progress.journal):
            return []
        fates = self._flow.aftermath(self._progress.journal)
        return [self._outside(name, StepRecord(id=name, status=status)) for name, status in fates.items()]

    def _outside(self, name: str, record: StepRecord) -> StepRecord:
        """Note a decided record; return it as the journal has it."""
        self._note(name, record)
        return record.model_copy(update={"id": self._prefix + name})

    def _note(self, name: str, record: StepRecord) -> None:
        record = _inside(name, record)
        self._progress.journal[name] = record
        enter(self._scope, record)

    async def _journal(self, records: list[StepRecord]) -> None:
        if records:
            await self._host.write(records)

    def _conclude(self) -> None:
        journal = self._progress.journal
        failed = self._flow.unhandled(journal)
        if failed:
            self.error = step_error(self._prefix, failed[0])
            return
        self.complete = all(record.status in LASTING for record in journal.values())
        if self.complete:
            try:
                self.result = item_result(self._owner.step.config, self._flow.default_output(journal), self._scope)
            except EvaluationError as error:
                message = f"`result` of {self._prefix.removesuffix('.')}: {error.message}"
                self.error = StepError(code=error.code, message=message)


def step_error(prefix: str, record: StepRecord) -> StepError:
    """Return the error of a map whose body failed: it names the step as the journal does."""
    error = record.error or StepError(code="internal_error", message="no error was recorded")
    return StepError(code=error.code, message=f"step '{prefix}{record.id}' failed: {error.message}")


def _inside(name: str, record: StepRecord) -> StepRecord:
    """Return a record as the body knows it, under the task's own id."""
    return record.model_copy(update={"id": name})
