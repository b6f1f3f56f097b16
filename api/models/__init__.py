"""The tables. Every table of a tenant has ``organization_id``, also in each of its keys."""

from api.models.approval import Approval
from api.models.base import Base
from api.models.execution import ExecutionStep, Lease, OutboxEntry, WorkflowExecution
from api.models.organization import Organization, Variable
from api.models.workflow import Agent, Artifact, Release, WebhookRoute, WorkflowVersion

__all__ = [
    "Agent",
    "Approval",
    "Artifact",
    "Base",
    "ExecutionStep",
    "Lease",
    "Organization",
    "OutboxEntry",
    "Release",
    "Variable",
    "WebhookRoute",
    "WorkflowExecution",
    "WorkflowVersion",
]
