"""Two organisations with the same ids: no repository query of one sees or changes the other's rows."""

from __future__ import annotations

import ast
import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

import api
from api.adoption.repository import AdoptedRunRepository
from api.agents.repository import AgentRepository, DraftRepository
from api.api_keys.format import KeyParts
from api.api_keys.repository import ApiKeyRepository
from api.approvals.repository import ApprovalRepository
from api.dead_letters.repository import DeadLetterRepository
from api.events.repository import EventRepository, SubscriptionRepository
from api.executions.listing.repository import ListingRepository
from api.executions.listing.schemas import ExecutionFilter
from api.executions.live.repository import LiveRepository
from api.executions.repository import ExecutionRepository
from api.idempotency.keys import RequestKey
from api.idempotency.repository import IdempotencyRepository
from api.inputs.repository import InputRepository
from api.invitations.repository import InvitationRepository
from api.members.repository import MemberRepository
from api.pauses.repository import PauseRepository
from api.pins.repository import PinRepository
from api.reconciliation.repository import ReconciliationRepository, find_of_runs
from api.relay.repository import OutboxRepository
from api.releases.repository import ArtifactRepository
from api.reviews.repository import ReviewRepository
from api.runtime.repository import JournalRepository, LeaseRepository
from api.teams.repository import TeamRepository
from api.variables.repository import Snapshot, VariableRepository
from api.workflows.repository import RouteRepository, VersionRepository, WorkflowRepository
from operators.execution.records import ApprovalRequest, StepRecord
from tests.api.control_plane import ControlPlane
from tests.api.furnishing import AGENT, APPROVAL, EXECUTION, PERSON, TEAM, furnish

pytestmark = pytest.mark.platform

# Users and what is theirs belong to no organisation.
WITHOUT_TENANT = {
    "organizations", "releases", "agent_factory_migrations", "users", "user_identities", "user_sessions",
    "refresh_tokens", "password_resets", "attempts", "signing_keys", "upkeep_runs", "oidc_flows",
    "platform_audit_log",
}  # fmt: skip


@pytest.fixture
async def ours(control_plane: ControlPlane) -> UUID:
    async with control_plane.database.system() as session:
        await furnish(session, "theirs")
        return await furnish(session, "ours")


async def rows_of(session: AsyncSession, slug: str) -> dict[str, list[Any]]:
    """Return every row of an organisation, by table."""
    tables = (
        (await session.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))).scalars().all()
    )
    found: dict[str, list[Any]] = {}
    for table in sorted(set(tables) - WITHOUT_TENANT):
        statement = f"SELECT t.* FROM {table} t JOIN organizations o ON o.id = t.organization_id WHERE o.slug = :slug"
        found[table] = [repr(row) for row in await session.execute(text(statement), {"slug": slug})]
        assert found[table], f"{table} has no row in this test"
    return found


async def test_reads_see_the_own_rows_only(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        workflows, executions = WorkflowRepository(session, ours), ExecutionRepository(session, ours)
        current = await workflows.current("same")
        assert current is not None
        assert current.dag_id == "ours__same"
        for version in (await workflows.by_digest(AGENT, "d" * 64), await workflows.by_id(current.version_id)):
            assert version == current
        assert await workflows.of_number(AGENT, 1) == current
        assert await workflows.source(current.version_id) == b"ours"
        pins = PinRepository(session, ours)
        assert await pins.find("same", 1) == await pins.find("same", "ours") == current.version_id
        assert await pins.pinned(current.version_id, "same", 1) == current.version_id
        assert await pins.pinned_by(current.version_id) == {current.version_id}
        assert [version.label for version in await pins.newest("same")] == ["ours"]
        assert [route.config for route in await RouteRepository(session, ours).at("same")] == [{"of": "ours"}]
        subscriptions = await SubscriptionRepository(session, ours).of_type("made")
        assert [subscription.filter for subscription in subscriptions] == ["ours"]
        assert await EventRepository(session, ours).started("same", "same") == [{"of": "ours"}]
        assert await VariableRepository(session, ours).snapshot(("v",), "default") == Snapshot({"v": "ours"}, [])
        execution = await executions.get(EXECUTION)
        assert execution is not None
        assert execution.input == "ours"
        assert [step.output for step in await executions.steps(EXECUTION)] == ["ours"]
        prepared = await InputRepository(session, ours).get(AGENT, EXECUTION)
        assert prepared is not None
        assert prepared.value == "ours"
        runs = AdoptedRunRepository(session, ours)
        assert (await runs.find("same", "run"), await runs.run_id_of(EXECUTION)) == (EXECUTION, "run")
        journal = JournalRepository(session, ours, EXECUTION)
        assert (await journal.records())["step"].output == "ours"
        leases = LeaseRepository(session, ours, EXECUTION)
        assert await leases.active_units(besides="") == ["unit"]
        listing = ListingRepository(session, ours)
        workflow = await listing.workflow("same", 1)
        assert workflow == (AGENT, current.version_id)
        (summary,) = await listing.page(
            ExecutionFilter(), agent_id=AGENT, version_id=current.version_id, before=None, limit=9
        )
        assert (summary.id, summary.version_id) == (EXECUTION, current.version_id)
        live = LiveRepository(session, ours, EXECUTION)
        assert await live.standing() is not None
        assert [step.step_id for step in await live.steps_after(datetime(2000, 1, 1, tzinfo=UTC))] == ["step"]
        assert list(await live.keys_until(datetime(2199, 1, 1, tzinfo=UTC))) == [(0, "step")]
        variables = VariableRepository(session, ours)
        assert [each.value for each in await variables.all(None)] == ["ours"]
        assert await variables.count() == 1
        approvals = ApprovalRepository(session, ours)
        (listed,) = await approvals.page(status="pending", execution_id=None, step_id=None, before=None, limit=9)
        found = await approvals.find(APPROVAL)
        assert found is not None
        assert listed.row.title == found.row.title == "ours"
        assert await approvals.of_steps(EXECUTION) == {"waiting": APPROVAL}
        assert await approvals.current(EXECUTION, 0, "waiting") == APPROVAL


async def test_reconciliation_names_the_organisation_of_what_it_finds(control_plane: ControlPlane, ours: UUID) -> None:
    """A round looks at all organisations; what follows of each row stays in its own."""
    async with control_plane.database.system() as session:
        await session.execute(
            text("UPDATE adopted_runs SET dag_id = 'ours__same' WHERE organization_id = :o"), {"o": ours}
        )
        statement = text("UPDATE adopted_runs SET dag_id = 'theirs__same' WHERE organization_id != :o")
        await session.execute(statement, {"o": ours})
        for mine in (True, False):
            [found] = await find_of_runs(session, [("ours__same" if mine else "theirs__same", "run")])
            assert (found.organization_id == ours) is mine
        assert await find_of_runs(session, [("ours__same", "other")]) == []
        again = await ReconciliationRepository(session, ours).look_again(EXECUTION)
        assert again is not None
        assert (again.organization_id, again.dag_id) == (ours, "ours__same")


async def test_another_organisations_file_is_not_there(control_plane: ControlPlane, ours: UUID) -> None:
    theirs = hashlib.sha256(b"theirs").hexdigest()
    async with control_plane.database.system() as session:
        artifacts = ArtifactRepository(session, ours)
        assert await artifacts.content(theirs) is None
        assert await artifacts.released(["same.py"]) == {"same.py": hashlib.sha256(b"ours").hexdigest()}


async def test_others_versions_are_not_there(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        statement = text("SELECT id FROM workflow_versions WHERE organization_id != :ours")
        theirs = await session.scalar(statement, {"ours": ours})
        pins = PinRepository(session, ours)
        assert await pins.find("same", "theirs") is None
        assert await pins.pinned(theirs, "same", 1) is None
        assert await pins.pinned_by(theirs) == set()
        assert await WorkflowRepository(session, ours).pinned(theirs) is None


async def test_others_runs_and_inputs_are_not_there(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        statement = text("UPDATE adopted_runs SET dag_id = 'theirs' WHERE organization_id != :ours")
        await session.execute(statement, {"ours": ours})
        new_id = UUID("01990000-0000-7000-8000-00000000000f")
        statement = text("UPDATE prepared_inputs SET id = :id WHERE organization_id != :ours")
        await session.execute(statement, {"ours": ours, "id": new_id})
        assert await AdoptedRunRepository(session, ours).find("theirs", "run") is None
        assert await InputRepository(session, ours).get(AGENT, new_id) is None


async def test_writes_leave_the_others_rows_alone(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        before = await rows_of(session, "theirs")
        mine = await rows_of(session, "ours")
        statement = text("DELETE FROM adopted_runs WHERE organization_id = :org")
        await session.execute(statement, {"org": ours})
        await AdoptedRunRepository(session, ours).add("same", "run", EXECUTION, 7)
        await AdoptedRunRepository(session, ours).forget(EXECUTION)
        await InputRepository(session, ours).add(AGENT, "new")
        leases, journal = LeaseRepository(session, ours, EXECUTION), JournalRepository(session, ours, EXECUTION)
        await leases.extend("unit", 1, 600, ["step"])
        await leases.revoke_all()
        await leases.take("unit", "new", 60)
        await leases.give_back("unit", 3)
        await journal.write(0, [StepRecord(id="step", status="failed")], replace=True)
        await journal.remove(["step"])
        await journal.write(0, [StepRecord(id="step", status="failed")], replace=True)
        await journal.retire(["step"])
        await WorkflowRepository(session, ours).ensure("same", "renamed")
        await RouteRepository(session, ours).clear(AGENT)
        await ArtifactRepository(session, ours).add(b"new")
        await ArtifactRepository(session, ours).release(2, {"same.py": b"new"})
        await LiveRepository(session, ours, EXECUTION).watch(60)
        variables = VariableRepository(session, ours)
        await variables.set("default", "v", value="new", sealed=None)
        assert await variables.remove("default", "v")
        await variables.set("default", "v", value="new", sealed=None)
        executions = ExecutionRepository(session, ours)
        row = await executions.lock(EXECUTION)
        assert row is not None
        assert row.input == "ours"
        row.parent_execution_id = EXECUTION
        assert await executions.unfinished_children(EXECUTION) == [EXECUTION]
        row.parent_execution_id, row.caller = None, "step"
        assert await executions.callers(EXECUTION) == ["same"]
        called = await executions.of_caller("step")
        assert called is not None
        assert called.input == "ours"
        await executions.lock_caller("step")
        assert [each.id for each in await executions.unfinished(AGENT, "")] == [EXECUTION]
        assert not await executions.is_at_work(EXECUTION)
        await SubscriptionRepository(session, ours).replace(AGENT, [("made", None)])
        events = EventRepository(session, ours)
        assert not await events.hear("same", "same", "made")
        await events.note_started("same", "same", [])
        entry = await session.scalar(text("SELECT id FROM outbox WHERE organization_id = :org"), {"org": ours})
        outbox = OutboxRepository(session, ours)
        assert await outbox.newest_version(AGENT) == (1, "d" * 64)
        await outbox.postpone(entry, 0, 60, error="later", refused=True)
        assert await outbox.bury(entry, 0, "dead")
        others = await session.scalar(text("SELECT id FROM outbox WHERE organization_id != :org"), {"org": ours})
        await outbox.done(others)
        assert not await outbox.bury(others, 0, "dead")
        await outbox.done(entry)
        current = await WorkflowRepository(session, ours).current("same")
        assert current is not None
        await executions.stop_run(EXECUTION, current)
        await executions.add_to_outbox(EXECUTION, current)
        assert await executions.withdraw(EXECUTION) == 0
        await executions.restart_run(EXECUTION, current, "")
        assert await outbox.is_stopping(EXECUTION)
        assert await rows_of(session, "theirs") == before
        assert mine.keys() == before.keys()


async def test_pauses_letters_and_keys_are_the_own_ones(control_plane: ControlPlane, ours: UUID) -> None:
    failed = (
        "UPDATE workflow_executions SET status = 'failed', error = '{\"code\": \"not_scheduled\"}'",
        "UPDATE outbox SET dead = true",
    )
    async with control_plane.database.system() as session:
        for statement in failed:
            await session.execute(text(statement))
        before = await rows_of(session, "theirs")
        letters, pauses = DeadLetterRepository(session, ours), PauseRepository(session, ours)
        (letter,) = await letters.page(workflow_id="same", before=None, limit=9)
        others = await session.scalar(text("SELECT id FROM outbox WHERE organization_id != :org"), {"org": ours})
        assert (await letters.count("same"), await letters.find(others)) == (1, None)
        assert await letters.revive(others) == 0
        assert await letters.revive(letter.id) == 1
        assert await letters.revive(workflow_id="same") == 0
        assert await pauses.waiting() == 1
        assert await pauses.pause_workflow("same")
        await pauses.pause()
        assert await pauses.paused_at() is not None
        assert await pauses.workflow_paused_at("same") == (await pauses.paused_workflows())["same"]
        keys = IdempotencyRepository(session, ours)
        key = RequestKey("same", "same", "ours")
        known = await keys.find(key)
        assert known is not None
        assert (known.digest, known.execution_id) == ("ours", EXECUTION)
        await session.execute(text("UPDATE idempotency_keys SET expires_at = expires_at - interval '2 days'"))
        before["idempotency_keys"] = (await rows_of(session, "theirs"))["idempotency_keys"]
        assert await keys.add(key)
        await keys.note_started(key, EXECUTION, "{}")
        assert await rows_of(session, "theirs") == before
        paused = text("SELECT count(*) FROM organizations WHERE paused_at IS NOT NULL")
        assert await session.scalar(paused) == 1
        await pauses.resume()
        assert await pauses.resume_workflow("same")
        assert await pauses.paused_at() is None
        assert await rows_of(session, "theirs") == before


async def test_agents_drafts_and_versions_are_the_own_ones(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        before = await rows_of(session, "theirs")
        agents, drafts = AgentRepository(session, ours), DraftRepository(session, ours)
        versions = VersionRepository(session, ours)
        (listed,) = await agents.page(search=None, status=None, before=None, limit=9)
        found, locked, draft = await agents.find(AGENT), await agents.lock(AGENT), await drafts.get(AGENT)
        assert found == listed
        assert found is not None
        assert locked is not None
        assert draft is not None
        assert found.name == locked.name == draft.source.decode() == found.draft_updated_by == "ours"
        assert await agents.page(search="theirs", status=None, before=None, limit=9) == []
        newest = await versions.newest(AGENT)
        assert newest is not None
        assert (newest.source, newest) == (b"ours", await versions.get(AGENT, 1))
        assert [each.label for each in await versions.page(AGENT, before=None, limit=9)] == ["ours"]
        assert await WorkflowRepository(session, ours).agent_of("same") == AGENT
        assert await agents.change(AGENT, {"name": "changed"})
        await agents.archive(AGENT, archived=True)
        await drafts.put(AGENT, 2, b"changed", None, "me")
        made = await agents.add("new", "new", None, "me")
        assert made is not None
        assert not await agents.is_published(made)
        assert await agents.is_published(AGENT)
        await agents.remove(made)
        assert await agents.find(made) is None
        assert await rows_of(session, "theirs") == before
        # In the other organisation only.
        theirs = await session.scalar(text("SELECT id FROM organizations WHERE slug = 'theirs'"))
        other = await AgentRepository(session, theirs).add("new", "new", None, "them")
        assert other is not None
        before = await rows_of(session, "theirs")
        assert (await agents.find(other), await agents.lock(other), await drafts.get(other)) == (None, None, None)
        assert not await agents.is_published(other)
        await agents.remove(other)
        assert await agents.change(other, {"name": "ours now"})
        assert await rows_of(session, "theirs") == before


async def test_reviews_are_the_own_ones(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        before = await rows_of(session, "theirs")
        reviews = ReviewRepository(session, ours)
        policy, found = await reviews.policy(), await reviews.find(TEAM)
        assert policy is not None
        assert found is not None
        assert policy.changed_by == found[0].requested_by == "ours"
        (listed,) = await reviews.page(agent_id=AGENT, status="open", before=None, limit=9)
        assert listed[0].source == b"ours"
        assert await reviews.decide(TEAM, decision="approve", by="me", comment=None)
        assert not await reviews.decide(TEAM, decision="reject", by="me", comment=None)
        assert await reviews.last_decision(AGENT, "f" * 64) == "approve"
        await reviews.set_policy(required=True, by="me")
        assert await rows_of(session, "theirs") == before
        theirs = await session.scalar(text("SELECT id FROM organizations WHERE slug = 'theirs'"))
        assert await ReviewRepository(session, theirs).last_decision(AGENT, "f" * 64) is None


async def test_decisions_leave_the_others_approvals_alone(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        approvals = ApprovalRepository(session, ours)
        # Each has an overdue approval besides the one of the same id.
        await session.execute(
            text(
                "INSERT INTO approvals (organization_id, execution_id, epoch, step_id, title, assignees, on_timeout,"
                " due_at) SELECT organization_id, execution_id, 0, 'late', title, '[]', 'reject', now() FROM approvals"
            )
        )
        before = await rows_of(session, "theirs")
        assert await approvals.decide(APPROVAL, decision="approve", comment=None, by="x", via="api")
        assert len(await approvals.settle_overdue()) == 1
        assert await approvals.ask(EXECUTION, "waiting", ApprovalRequest(epoch=0, title="x")) == APPROVAL
        await approvals.supersede(EXECUTION, ["waiting"])
        assert await approvals.ask(EXECUTION, "waiting", ApprovalRequest(epoch=0, title="x")) != APPROVAL
        assert await rows_of(session, "theirs") == before


async def test_people_keys_and_teams_are_the_own_ones(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        before = await rows_of(session, "theirs")
        keys, teams, members = (
            ApiKeyRepository(session, ours), TeamRepository(session, ours), MemberRepository(session, ours)
        )  # fmt: skip
        invitations = InvitationRepository(session, ours)
        assert [key.name for key in await keys.list(made_by=None, everybodys=True)] == ["ours"]
        assert [(team.name, people) for team, people in await teams.list()] == [("ours", [PERSON])]
        assert [member.organization_id for member, _ in await members.list()] == [ours]
        assert await members.is_member("same@x.test")
        assert await members.other_owners(EXECUTION) == 1
        assert [row.organization_id for row in await invitations.list()] == [ours]
        await keys.add("new", KeyParts("same", b"other"), ["*"], made_by=PERSON, expires_at=None)
        assert await keys.revoke(TEAM, made_by=None, everybodys=False)
        await invitations.add("new@x.test", "viewer", b"x", by_mail=False, invited_by=None, lifetime=9)
        assert await invitations.revoke(TEAM)
        assert await teams.add("theirs") is not None
        assert await teams.leave(TEAM, PERSON)
        await teams.join(TEAM, PERSON)
        assert await teams.remove(TEAM)
        await members.remove(PERSON)
        assert not await teams.is_member(PERSON)
        assert await members.find(PERSON) is None
        assert await rows_of_people(session, "theirs") == {name: before[name] for name in PEOPLE}


PEOPLE = ("api_keys", "invitations", "memberships", "team_members", "teams")


async def rows_of_people(session: AsyncSession, slug: str) -> dict[str, list[Any]]:
    found = await rows_of(session, slug)
    return {name: found[name] for name in PEOPLE}


async def test_every_key_of_a_tenants_table_begins_with_the_organisation(control_plane: ControlPlane) -> None:
    statement = text(
        "SELECT i.indexrelid::regclass::text, a.attname FROM pg_index i"
        " JOIN pg_class c ON c.oid = i.indrelid AND c.relnamespace = 'public'::regnamespace"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " WHERE i.indisunique AND c.relname != ALL(:without)"
    )
    async with control_plane.database.system() as session:
        indexes = (await session.execute(statement, {"without": sorted(WITHOUT_TENANT)})).all()
    assert indexes
    assert {column for _, column in indexes} == {"organization_id"}


def test_sql_is_in_repositories_only() -> None:
    """A query elsewhere would escape the tests above."""
    allowed = {"repository.py", "notifications.py", "migrate.py", "database.py"}
    root = Path(next(iter(api.__path__)))
    for path in root.rglob("*.py"):
        if path.name in allowed or {"migrations", "models", "platform", "cli"} & set(path.relative_to(root).parts):
            continue
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("sqlalchemy")
            for alias in node.names
        }
        assert not names & {"select", "insert", "update", "delete", "text"}, path
