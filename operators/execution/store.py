"""The runner's door to what is stored: one protocol, in memory and over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from operators.execution.records import (
    AnswerReceipt,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalState,
    ChildRequest,
    ChildState,
    Emission,
    EmittedEvent,
    ExecutionState,
    ExecutionStatus,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    News,
    PodSettings,
    Redactions,
    Settling,
    StoredOutput,
)

MOST_AWAITED = 100
"""So many ids one watch takes: they are part of its address."""


class StoreError(Exception):
    """The store could not be reached or answered nonsense. Trying again may help."""


class LeaseHeldError(StoreError):
    """Another owner holds a live lease on this unit. Ask again after ``retry_after`` seconds."""

    def __init__(self, unit: str, retry_after: float) -> None:
        super().__init__(f"unit {unit!r} is leased to another runner; ask again in {retry_after:.1f} s")
        self.unit = unit
        self.retry_after = retry_after


class StaleLeaseError(StoreError):
    """The token is no longer the current one: another runner took over. Stop at once; trying again never helps."""


class ExecutionEndedError(StoreError):
    """The execution is already over; there is nothing left to run."""

    def __init__(self, execution_id: str, status: ExecutionStatus) -> None:
        super().__init__(f"execution {execution_id!r} has already ended: {status}")
        self.execution_id = execution_id
        self.status = status


class RejectedError(StoreError):
    """The store refused the call for good (unknown execution, plan of another workflow, bad credential)."""


class NotBegunError(RejectedError):
    """The run has no execution, and gets none: the clock started it while its workflow was paused."""


class DepthExceededError(RejectedError):
    """Too many executions in a row were started by one another: this one may start no more."""


class OutputRefusedError(RejectedError):
    """An output is too large, or the execution has kept too many; the message is a sentence for its author."""


class ExecutionStore(Protocol):
    """Lease, journal and end of executions. Every write is fenced by the lease's token."""

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        """Take or renew the lease of a unit.

        :raises LeaseHeldError: Another owner's lease is alive.
        :raises ExecutionEndedError: The execution is over.
        :raises RejectedError: No such execution, or not of this workflow.
        """
        ...

    async def heartbeat(self, execution_id: str, unit: str, token: int) -> ExecutionState:
        """Extend the lease.

        :raises StaleLeaseError: It was taken over.
        """
        ...

    async def journal(self, execution_id: str, entry: Journaling) -> ExecutionState:
        """Store step results; returns once they are durable.

        :raises StaleLeaseError: The lease was taken over; nothing was stored.
        """
        ...

    async def settle(self, execution_id: str, entry: Settling) -> ExecutionState:
        """Give the lease back: every step of the unit is decided. Answers the whole journal, and which other units
        are still at work, in one atomic look, so that exactly the last unit to settle ends the execution."""
        ...

    async def finish(self, execution_id: str, entry: Finish) -> ExecutionState:
        """End the execution. The first end stands.

        :raises StaleLeaseError: The lease was taken over.
        """
        ...

    async def keep_output(self, execution_id: str, stored: StoredOutput, data: bytes) -> bool:
        """Keep an output outside of the journal; False where it belongs into the journal all the same.

        :raises OutputRefusedError: It is too much.
        """
        ...

    async def load_output(self, execution_id: str, stored: StoredOutput) -> bytes:
        """Return an output that was kept, of this execution or of a child.

        :raises RejectedError: It is gone.
        """
        ...

    async def watch(self, execution_id: str, awaited: Sequence[str]) -> News:
        """Return when there is news for a waiting step of the execution, or after a while without.

        :param awaited: Ids of what is waited for besides the execution's end: other executions, or approvals. One of
            them is enough. At most ``MOST_AWAITED``.
        """
        ...

    async def ask_approval(self, execution_id: str, step_id: str, request: ApprovalRequest) -> ApprovalState:
        """Ask people for a decision, if that has not been done yet, and answer how it stands. A time-out that has
        passed decides by its policy.

        :raises StaleLeaseError: The execution has ended, or the epoch is an older one.
        """
        ...

    async def answer_approval(self, execution_id: str, step_id: str, answer: ApprovalAnswer) -> AnswerReceipt:
        """Hand in an answer that was given in Airflow. The first answer counts, the same one again is harmless."""
        ...

    async def start_child(self, execution_id: str, request: ChildRequest) -> ChildState:
        """Start an execution of another workflow for a step, or show how the one of this key stands."""
        ...

    async def cancel_child(self, execution_id: str, child_id: str) -> None:
        """Cancel a child of the execution; harmless where it has ended."""
        ...

    async def model_credential(self, execution_id: str, provider: str) -> ModelCredential:
        """Return the organisation's key of a model provider."""
        ...

    async def redactions(self, execution_id: str) -> Redactions:
        """Return the secrets that are known of the execution's organisation, to be masked where containers print."""
        ...

    async def pod_settings(self, execution_id: str) -> PodSettings:
        """Return how pods of the execution are made.

        :raises RejectedError: There is no Kubernetes.
        """
        ...

    async def emit_event(self, execution_id: str, emission: Emission) -> EmittedEvent:
        """Raise an event in the execution's organisation; the same step and epoch again raise nothing new.

        :raises ExecutionEndedError: The execution is over.
        :raises DepthExceededError: The execution is the last of too long a row.
        """
        ...
