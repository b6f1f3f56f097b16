"""The tables. Every table of a tenant has ``organization_id``, also in each of its keys."""

from api.models.approval import Approval
from api.models.base import Base
from api.models.design import AgentWorkflow
from api.models.event import EventSubscription, ReceivedEvent
from api.models.execution import AdoptedRun, ExecutionStep, IdempotencyKey, Lease, OutboxEntry, WorkflowExecution
from api.models.organization import Organization, Variable
from api.models.workflow import Agent, Artifact, PreparedInput, Release, ReleaseArtifact, WebhookRoute, WorkflowVersion

__all__ = [
    "AdoptedRun",
    "Agent",
    "AgentWorkflow",
    "Approval",
    "Artifact",
    "Base",
    "EventSubscription",
    "ExecutionStep",
    "IdempotencyKey",
    "Lease",
    "Organization",
    "OutboxEntry",
    "PreparedInput",
    "ReceivedEvent",
    "Release",
    "ReleaseArtifact",
    "Variable",
    "WebhookRoute",
    "WorkflowExecution",
    "WorkflowVersion",
]
