"""Published workflows: validate, publish, start, pause."""

from __future__ import annotations

import json
from typing import Any

from agent_factory_client.schemas import (
    AdoptedRunView,
    EventAccepted,
    ExecutionAccepted,
    InputPrepared,
    Published,
    Validation,
    WorkflowPause,
)
from agent_factory_client.transport import Transport, path


class Workflows:
    """Workflows of the caller's organisation, by their own ids."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def validate(self, workflow: dict[str, Any] | bytes) -> Validation:
        """Say what the compiler says of a workflow; nothing is kept."""
        return self._transport.json(Validation, "POST", path("/workflows/validate"), body=workflow)

    def publish(self, workflow: dict[str, Any] | bytes, *, workflow_id: str | None = None) -> Published:
        """Publish a workflow: the next executions use it.

        :param workflow: The workflow, or its text as bytes.
        :param workflow_id: Its id, where it is not to be read from it.
        :raises ApiError: 422 with ``problem["diagnostics"]`` where the compiler finds errors.
        """
        name = workflow_id or str((json.loads(workflow) if isinstance(workflow, bytes) else workflow)["id"])
        return self._transport.json(Published, "POST", path("/workflows/{}/publish", name), body=workflow)

    def execute(
        self,
        workflow_id: str,
        input: Any = None,
        *,
        environment: str | None = None,
        idempotency_key: str | None = None,
    ) -> ExecutionAccepted:
        """Start a published workflow.

        :param environment: Whose variables it reads.
        :param idempotency_key: The same key with the same request starts one execution only, for 24 hours.
        """
        body = {"workflow_id": workflow_id, "input": {} if input is None else input}
        if environment is not None:
            body["environment"] = environment
        headers = {"idempotency-key": idempotency_key}
        return self._transport.json(ExecutionAccepted, "POST", path("/workflows/execute"), body=body, headers=headers)

    def pause(self, workflow_id: str) -> WorkflowPause:
        """Keep what starts a workflow, and give Airflow nothing of it until it is resumed."""
        return self._transport.json(WorkflowPause, "POST", path("/workflows/{}/pause", workflow_id))

    def resume(self, workflow_id: str) -> WorkflowPause:
        """Have a paused workflow go on with what was kept."""
        return self._transport.json(WorkflowPause, "POST", path("/workflows/{}/resume", workflow_id))

    def prepare_input(self, workflow_id: str, input: Any) -> InputPrepared:
        """Keep an input for a run that will be started in Airflow by the input's id."""
        return self._transport.json(
            InputPrepared, "POST", path("/workflows/{}/inputs", workflow_id), body={"input": input}
        )

    def run(self, workflow_id: str, run_id: str) -> AdoptedRunView:
        """Say which execution belongs to a run that was started in Airflow."""
        return self._transport.json(AdoptedRunView, "GET", path("/workflows/{}/runs/{}", workflow_id, run_id))

    def send_event(self, event: dict[str, Any]) -> EventAccepted:
        """Send a CloudEvent (JSON, version 1.0): workflows with a trigger for it start."""
        headers = {"content-type": "application/cloudevents+json"}
        return self._transport.json(EventAccepted, "POST", path("/events"), body=event, headers=headers)
