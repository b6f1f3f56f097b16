"""The tables. Every table of a tenant has ``organization_id``, also in each of its keys."""

from api.models.approval import Approval
from api.models.audit import AuditEntry, PlatformAuditEntry
from api.models.base import Base
from api.models.delivery import WebhookDelivery, WebhookSubscription
from api.models.design import AgentTemplate, AgentWorkflow
from api.models.event import EventSubscription, ReceivedEvent
from api.models.execution import AdoptedRun, ExecutionStep, IdempotencyKey, Lease, OutboxEntry, WorkflowExecution
from api.models.identity import (
    Attempts,
    OidcFlow,
    PasswordReset,
    RefreshToken,
    SigningKey,
    User,
    UserIdentity,
    UserSession,
)
from api.models.membership import ApiKey, Invitation, Membership, Team, TeamMember
from api.models.objects import StoredOutput
from api.models.organization import Organization, Variable
from api.models.review import AgentReview, ReviewPolicy
from api.models.upkeep import UpkeepRun
from api.models.workflow import (
    Agent,
    Artifact,
    PreparedInput,
    Release,
    ReleaseArtifact,
    VersionPin,
    WebhookRoute,
    WorkflowVersion,
)

__all__ = [
    "AdoptedRun",
    "Agent",
    "AgentReview",
    "AgentTemplate",
    "AgentWorkflow",
    "ApiKey",
    "Approval",
    "Artifact",
    "Attempts",
    "AuditEntry",
    "Base",
    "EventSubscription",
    "ExecutionStep",
    "IdempotencyKey",
    "Invitation",
    "Lease",
    "Membership",
    "OidcFlow",
    "Organization",
    "OutboxEntry",
    "PasswordReset",
    "PlatformAuditEntry",
    "PreparedInput",
    "ReceivedEvent",
    "RefreshToken",
    "Release",
    "ReleaseArtifact",
    "ReviewPolicy",
    "SigningKey",
    "StoredOutput",
    "Team",
    "TeamMember",
    "UpkeepRun",
    "User",
    "UserIdentity",
    "UserSession",
    "Variable",
    "VersionPin",
    "WebhookDelivery",
    "WebhookRoute",
    "WebhookSubscription",
    "WorkflowExecution",
    "WorkflowVersion",
]
