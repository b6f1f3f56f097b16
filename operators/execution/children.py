"""Calls of other workflows, as steps make them."""

from __future__ import annotations

from functools import partial

from pydantic_core import to_json

from operators.execution.clock import Clock
from operators.execution.outputs import Outputs
from operators.execution.patience import patiently
from operators.execution.records import ChildRequest, ChildState
from operators.execution.store import ExecutionStore, RejectedError
from operators.steps.base import StepFailedError

INPUT_BYTES = 16_000_000
"""Of what a step gives to another workflow: the runtime API takes little more in one call."""


class Children:
    """The executions that one execution starts.

    :param store: Starts them.
    """

    def __init__(self, store: ExecutionStore, execution_id: str, clock: Clock) -> None:
        self._store = store
        self._execution_id = execution_id
        self._clock = clock
        self._outputs = Outputs(store, execution_id, clock)

    async def start(self, request: ChildRequest) -> ChildState:
        """Start an execution, or show how the one of this key stands, with its output however large that is.

        :raises StepFailedError: ``input_too_large``, or ``output_lost``.
        """
        size = len(to_json(request.input, inf_nan_mode="constants"))
        if size > INPUT_BYTES:
            rule = (
                f"the input of a workflow must have at most {INPUT_BYTES:,} bytes of JSON; got {size:,}. Pass on less"
            )
            raise StepFailedError("input_too_large", rule, retryable=False)
        child = await patiently(partial(self._store.start_child, self._execution_id, request), self._clock)
        if child.output_ref is None:
            return child
        try:
            output = await self._outputs.load(child.output_ref)
        except RejectedError:
            message = f"the output of workflow {request.workflow_id!r} must be in the object store; it is gone"
            raise StepFailedError("output_lost", message, retryable=False) from None
        return child.model_copy(update={"output": output})

    async def cancel(self, child_id: str) -> None:
        """Cancel one; harmless where it has ended."""
        await patiently(partial(self._store.cancel_child, self._execution_id, child_id), self._clock)
