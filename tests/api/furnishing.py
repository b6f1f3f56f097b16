"""Rows for tests of tenancy: an organisation with one in every table, with the same ids in each organisation."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from api.adoption.repository import AdoptedRunRepository
from api.agents.repository import DraftRepository
from api.events.repository import EventRepository, SubscriptionRepository
from api.executions.repository import ExecutionRepository
from api.idempotency.keys import RequestKey
from api.idempotency.repository import IdempotencyRepository
from api.objects.repository import OutputRepository
from api.objects.store import Kept
from api.organizations.repository import OrganizationRepository
from api.pins.repository import PinRepository
from api.releases.repository import ArtifactRepository
from api.reviews.repository import ReviewRepository
from api.runtime.repository import JournalRepository, LeaseRepository
from api.templates.repository import TemplateRepository
from api.workflows.repository import NewVersion, RouteRepository, WorkflowRepository
from operators.execution.records import StepRecord

EXECUTION = UUID("01990000-0000-7000-8000-000000000001")
APPROVAL = UUID("01990000-0000-7000-8000-000000000003")
AGENT = UUID("01990000-0000-7000-8000-000000000002")
TEAM = UUID("01990000-0000-7000-8000-000000000004")
PERSON = UUID("01990000-0000-7000-8000-000000000005")


async def furnish(session: AsyncSession, slug: str) -> UUID:
    """Give an organisation one row in each table, with the same ids in each organisation."""
    organization_id = await OrganizationRepository(session).ensure(slug)
    values: dict[str, Any] = {"org": organization_id, "agent": AGENT, "execution": EXECUTION, "slug": slug}
    await session.execute(
        text("INSERT INTO agents (organization_id, id, workflow_id, name) VALUES (:org, :agent, 'same', :slug)"), values
    )
    await DraftRepository(session, organization_id).put(AGENT, 1, slug.encode(), {"of": slug}, slug)
    version = NewVersion(slug, slug.encode(), "d" * 64, "e" * 64, f"{slug}__same")
    version_id = await WorkflowRepository(session, organization_id).add_version(AGENT, 1, version)
    await PinRepository(session, organization_id).add(version_id, "same", 1, version_id)
    await RouteRepository(session, organization_id).add(AGENT, "same", "POST", {"of": slug})
    artifacts = ArtifactRepository(session, organization_id)
    await artifacts.add(slug.encode())
    await artifacts.release(1, {"same.py": slug.encode()})
    await session.execute(
        text("INSERT INTO variables (organization_id, name, value) VALUES (:org, 'v', to_json(CAST(:slug AS text)))"),
        values,
    )
    await session.execute(
        text(
            "INSERT INTO workflow_executions (organization_id, id, agent_id, version_id, trigger, input)"
            " SELECT :org, :execution, :agent, id, '{}', to_json(CAST(:slug AS text))"
            " FROM workflow_versions WHERE organization_id = :org"
        ),
        values,
    )
    await SubscriptionRepository(session, organization_id).replace(AGENT, [("made", slug)])
    await EventRepository(session, organization_id).hear("same", "same", slug)
    await EventRepository(session, organization_id).note_started("same", "same", [{"of": slug}])
    current = await WorkflowRepository(session, organization_id).current("same")
    assert current is not None
    await ExecutionRepository(session, organization_id).add_to_outbox(EXECUTION, current)
    await LeaseRepository(session, organization_id, EXECUTION).take("unit", slug, 60)
    await AdoptedRunRepository(session, organization_id).add("same", "run", EXECUTION, 0)
    await session.execute(
        text(
            "INSERT INTO prepared_inputs (organization_id, id, agent_id, input)"
            " VALUES (:org, :execution, :agent, to_json(CAST(:slug AS text)))"
        ),
        values,
    )
    record = StepRecord(id="step", status="success", output=slug)
    await JournalRepository(session, organization_id, EXECUTION).write(0, [record], replace=True)
    await OutputRepository(session, organization_id).add(EXECUTION, Kept("f" * 64, 1, slug))
    await session.execute(
        text(
            "INSERT INTO approvals (organization_id, id, execution_id, epoch, step_id, title, assignees, on_timeout,"
            " due_at) SELECT :org, :approval, :execution, 0, 'waiting', to_json(CAST(:slug AS text)), '[]', 'reject',"
            " now() + interval '1 hour'"
        ),
        values | {"approval": APPROVAL},
    )
    keys = IdempotencyRepository(session, organization_id)
    assert await keys.add(RequestKey("same", "same", slug))
    await keys.note_started(RequestKey("same", "same", slug), EXECUTION, "{}")
    await furnish_reviews(session, organization_id, slug)
    template = {"name": slug, "category": slug, "tags": ["same"], "source": slug.encode(), "canvas": {"of": slug}}
    assert await TemplateRepository(session, organization_id).add({"id": TEAM, **template}, slug) == TEAM
    await furnish_people(session, organization_id, slug)
    await session.execute(
        text(
            "INSERT INTO audit_log (organization_id, id, actor, action, resource)"
            " VALUES (:org, :agent, 'operator', 'agent.make', :slug)"
        ),
        values,
    )
    return organization_id


async def furnish_reviews(session: AsyncSession, organization_id: UUID, slug: str) -> None:
    """Give an organisation a rule and a review."""
    reviews = ReviewRepository(session, organization_id)
    await reviews.set_policy(required=False, by=slug)
    what = {"source": slug.encode(), "plan_digest": "d" * 64, "fingerprint": "f" * 64, "coverage": {"of": slug}}
    await reviews.add(id=TEAM, agent_id=AGENT, authors=["same"], requested_by=slug, **what)


async def furnish_people(session: AsyncSession, organization_id: UUID, slug: str) -> None:
    """Make the same person a member, with a team, an invitation and a key of the same ids."""
    values = {"org": organization_id, "slug": slug, "person": PERSON, "team": TEAM, "digest": b"same"}
    for statement in (
        "INSERT INTO users (id, email, name) VALUES (:person, 'same@x.test', 'Same') ON CONFLICT DO NOTHING",
        "INSERT INTO memberships (organization_id, user_id, role) VALUES (:org, :person, 'organization_owner')",
        "INSERT INTO teams (organization_id, id, name) VALUES (:org, :team, :slug)",
        "INSERT INTO team_members (organization_id, team_id, user_id) VALUES (:org, :team, :person)",
        "INSERT INTO invitations (organization_id, id, email, role, digest, by_mail, expires_at)"
        " VALUES (:org, :team, 'new@x.test', 'viewer', :digest, false, now() + interval '1 day')",
        "INSERT INTO api_keys (organization_id, id, name, prefix, digest, permissions)"
        " VALUES (:org, :team, :slug, 'same', :digest, '[\"*\"]')",
        "INSERT INTO webhook_subscriptions (organization_id, id, url, event_types, sealed)"
        " VALUES (:org, :team, :slug, '{}', :digest)",
        "INSERT INTO webhook_deliveries (organization_id, id, kind, subscription_id, event_type, url, status)"
        " VALUES (:org, :team, 'event', :team, 'agent.created', :slug, 'pending')",
    ):
        await session.execute(text(statement), values)
