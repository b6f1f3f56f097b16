"""What a runner is told of an execution when its lease is granted."""

from __future__ import annotations

from datetime import datetime

from api.models import WorkflowExecution
from api.settings import Settings
from api.workflows.repository import PublishedVersion
from operators.execution.records import ExecutionInfo, LeaseGrant, StepRecord


def grant_of(
    row: WorkflowExecution,
    version: PublishedVersion,
    steps: dict[str, StepRecord],
    settings: Settings,
    *,
    token: int = 0,
    now: datetime | None = None,
) -> LeaseGrant:
    """Return the grant of an execution; token 0 is none that anybody holds."""
    return LeaseGrant(
        token=token,
        ttl_seconds=settings.lease_ttl_seconds,
        heartbeat_seconds=settings.lease_heartbeat_seconds,
        epoch=row.epoch,
        life=row.life,
        since=row.reopened_at,
        now=now,
        execution=ExecutionInfo(
            id=str(row.id),
            workflow_id=version.workflow_id,
            version=version.number,
            started_at=row.accepted_at.isoformat(),
        ),
        input=row.input,
        trigger=row.trigger,
        vars=row.vars or {},
        secret_vars=row.secret_vars or [],
        steps=steps,
        halted=row.halted,
        cancelled=row.cancel_requested_at is not None,
    )
