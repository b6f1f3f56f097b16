"""Approvals of a run in this process: somebody at hand is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from operators.execution.memory import InMemoryStore
from operators.execution.records import ApprovalRequest, ApprovalState, Decision
from operators.execution.store import RejectedError
from operators.steps.base import StepFailedError, StepKey

Approver = Callable[[str, ApprovalRequest], Awaitable[tuple[Decision, str | None, str]]]
"""Asks somebody: step id and question in; decision, comment and who it was out. ``EOFError`` means that nobody is there
any more: the run is cancelled."""


class LocalApprovals:
    """Asks for the approvals of one run; what is answered goes to the store, where the steps wait for it.

    :param approver: Asks; without it nobody is there.
    """

    def __init__(self, store: InMemoryStore, approver: Approver | None) -> None:
        self._store = store
        self._approver = approver
        self._asking: dict[str, asyncio.Task[None]] = {}

    async def __call__(self, key: StepKey, request: ApprovalRequest) -> ApprovalState:
        """Ask once a step, and answer how it stands.

        :raises StepFailedError: ``approval_unanswered``, where nobody is there.
        """
        if self._approver is None:
            raise StepFailedError(
                "approval_unanswered",
                "an approval in a local run needs a terminal to ask on, or a stub; got neither. Give the stub "
                f'{{"{key.step_id}": {{"decision": "approve"}}}}',
                retryable=False,
            )
        state = await self._store.ask_approval(key.execution_id, key.step_id, request)
        if state.decision is None and state.id not in self._asking:
            self._asking[state.id] = asyncio.create_task(self._ask(self._approver, state.id, key, request))
        elif state.decision is not None and state.id in self._asking:
            # Decided by the time-out: the question is over.
            self._asking[state.id].cancel()
        return state

    async def close(self) -> None:
        """Stop asking."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    async def _ask(self, approver: Approver, approval_id: str, key: StepKey, request: ApprovalRequest) -> None:
        try:
            decision, comment, by = await approver(key.step_id, request)
        except EOFError:
            # Whoever was asked has gone.
            self._store.cancel(key.execution_id)
            return
        try:
            self._store.decide(approval_id, decision, by=by, comment=comment)
        except RejectedError:
            # The time-out was quicker.
            return
