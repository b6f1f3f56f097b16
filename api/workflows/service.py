"""Publishing: compile, store the version, claim its webhook routes, subscribe to events, make the release."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.actors import actor
from api.agents.repository import DraftRepository
from api.agents.sources import same_json
from api.audit.trail import note
from api.auth import Caller
from api.events.repository import SubscriptionRepository
from api.namespaces.preparing import prepare_pods
from api.pins.service import PinService
from api.problems import Problem, archived
from api.releases.repository import ArtifactRepository, ReleaseRepository
from api.releases.service import ReleaseService
from api.reviews.gate import ReviewGate
from api.settings import Settings
from api.subscriptions.events import tell
from api.workflows.repository import NewVersion, PublishedVersion, RouteRepository, StoredVersion, WorkflowRepository
from api.workflows.schemas import Published
from compiler import Compilation, compile_workflow
from compiler.plan import Plan, Trigger
from compiler.planning import Isolation


@dataclass(frozen=True)
class Written:
    """Where the source of a publish is from.

    :param authors: Who wrote it.
    :param restored_from: The number of the older version that it is of.
    """

    authors: Collection[str]
    restored_from: int | None = None


@dataclass(frozen=True)
class Publication:
    """A publish and whether it made something new."""

    answer: Published
    is_new: bool


async def compile_source(
    source: bytes, workflow_id: str, organization: str, isolation: Isolation = "process"
) -> tuple[Compilation, Plan]:
    """Compile what is to be published; off the event loop, for a large workflow takes a second.

    :param isolation: Where tenant code will run.
    :raises Problem: 422, with the diagnostics, or because the id is another than the URL's.
    """
    compilation = await asyncio.to_thread(compile_workflow, source, organization=organization, isolation=isolation)
    plan = plan_of(compilation)
    if plan.workflow_id != workflow_id:
        detail = f"The workflow's id must be the one in the URL, {workflow_id!r}; got {plan.workflow_id!r}."
        raise Problem(422, "workflow_id_mismatch", detail)
    return compilation, plan


def plan_of(compilation: Compilation) -> Plan:
    """Return the plan of a compilation.

    :raises Problem: 422, with the diagnostics, where there is none.
    """
    if compilation.plan is None:
        errors = [diagnostic for diagnostic in compilation.diagnostics if diagnostic.severity == "error"]
        detail = f"The workflow has {len(errors)} error(s); the first: {errors[0].message}"
        diagnostics = [diagnostic.as_json() for diagnostic in compilation.diagnostics]
        raise Problem(422, "invalid_workflow", detail, diagnostics=diagnostics)
    return compilation.plan


class WorkflowService:
    """Workflows of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._session = session
        self._caller = caller
        self._settings = settings
        self._workflows = WorkflowRepository(session, caller.organization_id)
        self._drafts = DraftRepository(session, caller.organization_id)
        self._routes = RouteRepository(session, caller.organization_id)
        self._subscriptions = SubscriptionRepository(session, caller.organization_id)
        self._artifacts = ArtifactRepository(session, caller.organization_id)
        self._pins = PinService(session, caller.organization_id)
        self._gate = ReviewGate(session, caller.organization_id, caller.organization, settings.isolation)
        self._release_lock = ReleaseRepository(session)
        self._releases = ReleaseService(session)

    async def publish(
        self,
        source: bytes,
        compilation: Compilation,
        plan: Plan,
        *,
        agent_id: UUID | None = None,
        written: Written | None = None,
    ) -> Publication:
        """Publish a compiled workflow; one that equals the current version changes nothing.

        :param agent_id: Whose draft or version it is; without it the agent is that of the workflow's id.
        :param written: Where the source is from; without it the caller sent it.
        :raises Problem: 409, where another workflow has one of its webhook routes, where it is archived, or where it
            needs a review (:class:`ReviewGate`); 412, where the agent has another id since, or is gone; 422, where a
            call pins a version that is not there, or the organisation may not run an image; 503, where there is no
            namespace for its pods.
        """
        await prepare_pods(self._settings, self._caller.organization, plan)
        await self._release_lock.lock()
        if agent_id is not None and await self._workflows.agent_of(plan.workflow_id) != agent_id:
            detail = "Somebody changed the id of the agent's workflow, or deleted the agent; read it again."
            raise Problem(412, "precondition_failed", detail)
        current = await self._workflows.current(plan.workflow_id)
        if current and current.archived:
            raise archived(plan.workflow_id)
        before = current.plan_digest if current else None
        note(resource=f"workflows/{plan.workflow_id}", before=before, after=compilation.digest)
        if current and await self._is_same(current, compilation):
            release = await self._healed(compilation)
            return Publication(self._answer(compilation, plan, current.number, release), is_new=False)
        written = written or await self._sent(plan.workflow_id, source)
        return await self._publish(current, source, compilation, plan, written)

    async def _sent(self, workflow_id: str, source: bytes) -> Written:
        """Say who wrote what the caller sent: who wrote the agent's draft, where it is that; else the caller."""
        agent_id = await self._workflows.agent_of(workflow_id)
        draft = await self._drafts.get(agent_id) if agent_id else None
        is_draft = draft is not None and same_json(draft.source, source)
        return Written(draft.authors if draft and is_draft else [actor(self._caller)])

    async def _healed(self, compilation: Compilation) -> str:
        """Write anew what the object store has lost of the current files; return the release that has them.

        A new one, if there was something: who looked meanwhile has found it lost.
        """
        lost = [name for name, content in compilation.files.items() if await self._artifacts.heal(content)]
        if lost:
            return str(await self._releases.make(self._caller.organization_id, compilation.files))
        return str(await self._release_lock.latest())

    async def reopen(self, newest: StoredVersion, source: bytes, compilation: Compilation, plan: Plan) -> Publication:
        """Put a workflow that was archived back: its newest version, or a new one where today's compiler makes
        something else of the same source.

        :raises Problem: 409, 422 and 503, as :meth:`publish`.
        """
        await prepare_pods(self._settings, self._caller.organization, plan)
        await self._release_lock.lock()
        current = await self._workflows.current(plan.workflow_id)
        assert current is not None, "only what is published is archived"
        await self._gate.check(current.agent_id, plan, compilation.digest)
        digests = _digests(compilation)
        if (newest.plan_digest, newest.dag_digest) != (compilation.digest, digests[f"{plan.dag_id}.py"]):
            return await self._publish(current, source, compilation, plan, Written(newest.authors))
        for content in compilation.files.values():
            await self._artifacts.add(content)
        return await self._go_live(current.agent_id, current.version_id, current.number, compilation, plan)

    async def _publish(
        self,
        current: PublishedVersion | None,
        source: bytes,
        compilation: Compilation,
        plan: Plan,
        written: Written,
    ) -> Publication:
        number = current.number + 1 if current else 1
        known = await self._workflows.agent_of(plan.workflow_id)
        await self._gate.check(known, plan, compilation.digest)
        pinned = await self._pins.resolve(plan)
        agent_id = await self._workflows.ensure(plan.workflow_id, plan.name, actor(self._caller))
        version_id = await self._store(agent_id, number, source, compilation, plan, written)
        await self._pins.note(version_id, pinned)
        return await self._go_live(agent_id, version_id, number, compilation, plan)

    async def _go_live(
        self, agent_id: UUID, version_id: UUID, number: int, compilation: Compilation, plan: Plan
    ) -> Publication:
        await self._claim_routes(agent_id, plan)
        await self._subscriptions.replace(agent_id, _subscriptions(plan))
        # In the release before the caller's first run: what that calls is loaded by then.
        files = await self._pins.files(version_id, self._caller.organization, self._settings.isolation)
        release = str(await self._releases.make(self._caller.organization_id, {**files, **compilation.files}))
        data = {"agent_id": str(agent_id), "workflow_id": plan.workflow_id, "version": number}
        subject = f"/api/v1/agents/{agent_id}"
        await tell(self._session, self._caller.organization_id, "agent.published", subject, data)
        return Publication(self._answer(compilation, plan, number, release), is_new=True)

    async def _is_same(self, current: PublishedVersion, compilation: Compilation) -> bool:
        """Tell whether plan and DAG file are the current ones; a newer compiler may write another DAG file."""
        if current.plan_digest != compilation.digest:
            return False
        digests = _digests(compilation)
        return await self._artifacts.released(digests) == digests

    async def _store(
        self,
        agent_id: UUID,
        number: int,
        source: bytes,
        compilation: Compilation,
        plan: Plan,
        written: Written,
    ) -> UUID:
        digests = {name: await self._artifacts.add(content) for name, content in compilation.files.items()}
        version = NewVersion(
            label=plan.label,
            source=source,
            plan_digest=compilation.digest,
            dag_digest=digests[f"{plan.dag_id}.py"],
            dag_id=plan.dag_id,
            created_by=actor(self._caller),
            restored_from=written.restored_from,
            authors=written.authors,
        )
        return await self._workflows.add_version(agent_id, number, version)

    async def _claim_routes(self, agent_id: UUID, plan: Plan) -> None:
        await self._routes.clear(agent_id)
        for trigger in _webhooks(plan):
            path, method = str(trigger.config["path"]), str(trigger.config["method"])
            if not await self._routes.add(agent_id, path, method, trigger.config):
                owners = [route.workflow_id for route in await self._routes.at(path) if route.method == method]
                detail = f"{method} {path!r} must be unique in the organisation; workflow {owners[0]!r} has it."
                raise Problem(409, "webhook_route_taken", detail, workflow_id=owners[0])

    def _answer(self, compilation: Compilation, plan: Plan, number: int, release: str) -> Published:
        base = f"{self._settings.public_url}/webhook/{self._caller.organization}"
        return Published(
            workflow_id=plan.workflow_id,
            version=number,
            digest=compilation.digest,
            release=release,
            dag_id=plan.dag_id,
            webhooks=[f"{base}/{trigger.config['path']}" for trigger in _webhooks(plan)],
            diagnostics=[diagnostic.as_json() for diagnostic in compilation.diagnostics],
        )


def _webhooks(plan: Plan) -> list[Trigger]:
    return [trigger for trigger in plan.triggers if trigger.type == "webhook"]


def _subscriptions(plan: Plan) -> list[tuple[str, str | None]]:
    """Return the types and filters of the events a workflow waits for."""
    found = []
    for trigger in plan.triggers:
        if trigger.type == "event":
            condition = trigger.config.get("filter")
            found.append((str(trigger.config["type"]), None if condition is None else str(condition)))
    return found


def _digests(compilation: Compilation) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in compilation.files.items()}
