"""Accepting executions: the input is checked, the limit of concurrency is minded, Airflow is told by the outbox."""

from __future__ import annotations

import hashlib
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.executions.ending import Ending
from api.executions.repository import FRESH, ExecutionRepository, Origin
from api.executions.schemas import ExecutionAccepted
from api.problems import Problem, archived, not_found
from api.settings import Settings
from api.workflows.plans import PlanCache
from api.workflows.repository import PublishedVersion, WorkflowRepository
from compiler.expressions import EvaluationError, render, text_of
from compiler.plan import Plan
from operators.execution.calls import MAX_DEPTH

MAX_KEY = 500
"""Longer keys are kept as their digest: PostgreSQL indexes no longer texts."""


class Stored(TypedDict):
    """What an execution keeps of its plan, by the names that the repository has for it."""

    timeout_seconds: float | None
    limit: int | None


class Acceptance:
    """Accepts executions of one organisation. Everything happens in the session's transaction."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings, plans: PlanCache) -> None:
        self._session = session
        self._organization_id = organization_id
        self._settings = settings
        self._plans = plans
        self._executions = ExecutionRepository(session, organization_id)
        self._workflows = WorkflowRepository(session, organization_id)

    async def accept(
        self,
        workflow_id: str,
        *,
        input: Any,
        trigger: Any,
        origin: Origin = FRESH,
        pinned: PublishedVersion | None = None,
    ) -> ExecutionAccepted:
        """Store an execution of the current version and have Airflow told; or answer the existing one, where
        ``settings.conflict`` says so. Nothing is written where it raises.

        :param pinned: The version to run instead. Executions of a workflow are counted over all of its versions.
        :raises Problem: 404 where nothing of this id is published, 422 where the input does not fit, 409 where it is
            archived, where the limit is reached and ``conflict`` is ``fail``, or where too many executions started one
            another.
        """
        version = pinned or await self._workflows.current(workflow_id)
        if version is None:
            raise not_found("published workflow", workflow_id)
        if version.archived:
            raise archived(workflow_id)
        loaded = await self._plans.load(self._session, self._organization_id, version.plan_digest)
        await loaded.check_input(input)
        if origin.depth > MAX_DEPTH:
            detail = f"At most {MAX_DEPTH} executions in a row may start one another; look for a loop of workflows."
            raise Problem(409, "depth_exceeded", detail)
        key = concurrency_key(loaded.plan, input, trigger)
        existing = await self._settle_conflict(version, loaded.plan, key)
        if existing is not None:
            return existing
        execution_id = await self._executions.add(
            version, **_stored_of(loaded.plan), input=input, trigger=trigger, key=key, origin=origin, ordered=True
        )
        return self._answer(execution_id, "pending", version)

    async def accept_run(self, version: PublishedVersion, plan: Plan, *, input: Any, trigger: Any) -> UUID:
        """Store an execution of a run that Airflow has begun already; return its id.

        It cannot be made to wait any more, but it takes up a place of ``settings.concurrency``.
        """
        try:
            key = concurrency_key(plan, input, trigger)
        except Problem:
            key = ""
        return await self._executions.add(version, **_stored_of(plan), input=input, trigger=trigger, key=key)

    async def _settle_conflict(self, version: PublishedVersion, plan: Plan, key: str) -> ExecutionAccepted | None:
        """Do what ``conflict`` asks for where the limit is reached; return the execution to answer instead."""
        if plan.conflict is None or plan.concurrency is None:
            return None
        # Until the commit no other acceptance of this workflow and key counts.
        await self._executions.lock_group(version.agent_id, key)
        unfinished = await self._executions.unfinished(version.agent_id, key)
        surplus = len(unfinished) - plan.concurrency.limit + 1
        if surplus <= 0:
            return None
        if plan.conflict == "fail":
            detail = (
                f"At most {plan.concurrency.limit} execution(s) of {plan.workflow_id!r} may be unfinished at a time; "
                f"{len(unfinished)} are. Wait for one to end, or cancel it."
            )
            raise Problem(409, "conflict", detail, execution_id=str(unfinished[0].id))
        if plan.conflict == "use_existing":
            return await self._existing(unfinished[0].id, unfinished[0].status, unfinished[0].version_id)
        ending = self.ending()
        for each in unfinished[:surplus]:
            row = await self._executions.lock(each.id)
            assert row is not None, "executions are never deleted"
            await ending.cancel(row)
        return None

    async def accepted_before(self, execution_id: UUID, answer: dict[str, Any] | None) -> ExecutionAccepted:
        """Return the answer for an execution that was started before.

        :param answer: That of the request that started it, where it was kept.
        :raises Problem: 409, where the execution is not kept any more.
        """
        row = await self._executions.get(execution_id)
        if row is None:
            # No 410: senders of webhooks take that for an address that is no more.
            detail = (
                f"This request came before and started execution {str(execution_id)!r}, which is not kept any more. "
                "Nothing was started; another execution needs a new key, or a new message."
            )
            raise Problem(409, "execution_removed", detail, execution_id=str(execution_id))
        if answer is not None:
            return ExecutionAccepted.model_validate(answer).as_replay()
        return (await self._existing(row.id, row.status, row.version_id)).as_replay()

    async def _existing(self, execution_id: UUID, status: str, version_id: UUID) -> ExecutionAccepted:
        version = await self._workflows.by_id(version_id)
        assert version is not None, "versions are never deleted"
        return self._answer(execution_id, status, version, existing=True)

    def ending(self) -> Ending:
        """Return what ends executions of the same organisation in the same transaction."""
        return Ending(self._session, self._organization_id, self._settings, self._plans, self)

    def _answer(
        self, execution_id: UUID, status: Any, version: PublishedVersion, *, existing: bool = False
    ) -> ExecutionAccepted:
        return ExecutionAccepted(
            execution_id=execution_id,
            status=status,
            workflow_id=version.workflow_id,
            version=version.number,
            url=f"{self._settings.public_url}/api/v1/executions/{execution_id}",
            existing=existing,
        )


def _stored_of(plan: Plan) -> Stored:
    """Return what an execution keeps of its plan."""
    return {"timeout_seconds": plan.timeout_seconds, "limit": plan.concurrency.limit if plan.concurrency else None}


def concurrency_key(plan: Plan, input: Any, trigger: Any) -> str:
    """Return the text that groups executions for ``settings.concurrency``; "" where all of a workflow are one group.

    :raises Problem: 422, where the expression fails.
    """
    if plan.concurrency is None or plan.concurrency.key is None:
        return ""
    try:
        key = text_of(render(plan.concurrency.key, {"input": input, "trigger": trigger}))
    except EvaluationError as error:
        detail = f"`settings.concurrency.key` must have a value for every input: {error.message}."
        raise Problem(422, "invalid_input", detail, errors=[{"pointer": "", "message": error.message}]) from None
    if len(key) > MAX_KEY or "\x00" in key:
        return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return key
