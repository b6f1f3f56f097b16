"""Runs a ``map``: its body once for each item, a few items at a time.

Inside of an item the steps are as parallel as the edges allow, by the same verdicts as outside. Each result is
journaled under ``map[index].step`` before its successors start, so that after a crash no step of a body is called
twice.
"""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any, cast

from pydantic import JsonValue

from compiler.expressions import EvaluationError
from compiler.plan import Step
from operators.execution.attempts import StepRun, internal_error
from operators.execution.bodies import body_prefix, records_by_item
from operators.execution.flow import Progress, StepFlow
from operators.execution.groups import root_cause
from operators.execution.records import StepError, StepRecord
from operators.execution.scope import PENDING, enter
from operators.execution.store import StoreError
from operators.execution.waiting import HaltedWhileWaitingError
from operators.steps.base import Scope, StepFailedError, StepResult
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


class _HaltedError(Exception):
    """The execution came to its end elsewhere while items were left."""


class MapRun(StepRun):
    """Runs a step with a body. A stub stands in for the whole map."""

    def __init__(self, *arguments: Any, host: Host, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._host = host
        self._flow = host.flow(self.step)
        self._begun: dict[int, _Item] = {}
        self._errors: dict[int, StepError] = {}
        self._halted = False

    async def run(self, scope: Scope) -> None:
        """Bring the record to its final status: ``cancelled`` where the execution's end came first."""
        try:
            await super().run(scope)
        except _HaltedError:
            self.close("cancelled")

    def cut_off(self) -> list[StepRecord]:
        """Close what runs, and decide what will never run; return the records."""
        return [record for item in self._begun.values() for record in item.cut_off()]

    def may_start(self) -> bool:
        """Tell whether a step of the body may start now."""
        return not self._halted and not self._host.stopped() and not (self._errors and self._fails_fast)

    def halt(self) -> None:
        """Start nothing more: a waiting step of the body heard of the execution's end."""
        self._halted = True

    @property
    def _fails_fast(self) -> bool:
        return self.step.config.get("on_item_error") != "continue"

    async def _attempt(self, handler: Any, request: Any) -> StepResult:
        if self.record.id in self._stubs:
            return await super()._attempt(handler, request)
        try:
            return StepResult(await self._in_time(request))
        except (StepFailedError, StoreError, _HaltedError):
            raise
        except Exception as error:
            raise internal_error(error) from None

    async def _in_time(self, items: Items) -> list[JsonValue]:
        limit = self.step.timeout_seconds
        try:
            async with asyncio.timeout(limit) as timer:
                return await self._results(items)
        except TimeoutError:
            if not timer.expired():
                raise
            await self._host.write(self.cut_off())
            raise StepFailedError("timeout", f"the map took longer than {limit:g} s", retryable=False) from None

    async def _results(self, items: Items) -> list[JsonValue]:
        results: list[JsonValue] = [None] * len(items.values)
        self._errors |= self._known_errors(len(items.values))
        todo = iter(range(len(items.values)))
        workers = min(cast(int, self.step.config["concurrency"]), len(items.values))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(todo, items, results))
        except BaseExceptionGroup as errors:
            raise root_cause(errors) from None
        if self._errors and self._fails_fast:
            error = self._errors[min(self._errors)]
            raise StepFailedError(error.code, error.message, retryable=False)
        if self._begun or next(todo, None) is not None:
            raise _HaltedError
        return results

    def _known_errors(self, count: int) -> dict[int, StepError]:
        """Return the failures that an earlier run has journaled: they still stop a map that fails at the first."""
        errors: dict[int, StepError] = {}
        for index in range(count if self._fails_fast else 0):
            prefix = body_prefix(self.record.id, index)
            failed = self._flow.unhandled(self._host.journaled(prefix))
            if failed:
                errors[index] = step_error(prefix, failed[0])
        return errors

    async def _work(self, todo: Iterator[int], items: Items, results: list[JsonValue]) -> None:
        """Run one item after the other."""
        while self.may_start():
            index = next(todo, None)
            if index is None:
                return
            item = _Item(self, self._host, self._flow, index, self._scope(items, index))
            self._begun[index] = item
            await item.run()
            if item.error is not None:
                self._errors[index] = item.error
            elif not item.complete:
                # It stays among the begun: the map has no result.
                return
            else:
                results[index] = item.result
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
        self._failed = bool(flow.unhandled(known))
        for record in known.values():
            enter(scope, record)
        self.result: JsonValue = None
        self.error: StepError | None = None
        self.complete = False

    async def run(self) -> None:
        """Bring the item to its end: a result, an error, or neither where nothing may start any more."""
        async with asyncio.TaskGroup() as group:
            advance = self._progress.open()
            if self._may_start():
                self._start(group, advance.ready)
            await self._journal(self._skipped(advance.skipped))
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
        try:
            await run.run(self._scope)
        except HaltedWhileWaitingError:
            # It stays undecided, and so does the item.
            self._owner.halt()
            del self._running[name], self._host.running[run.record.id]
            return
        del self._running[name], self._host.running[run.record.id]
        record = _inside(name, run.record)
        # From here on nothing of the item starts, even while the record is on its way to the journal.
        self._failed = self._failed or self._flow.is_unhandled(record)
        advance = self._progress.add(record)
        enter(self._scope, record)
        await self._journal([run.record, *self._skipped(advance.skipped)])
        if self._may_start():
            self._start(group, advance.ready)

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
