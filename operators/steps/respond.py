"""``respond``: answers a waiting webhook caller; the flow goes on."""

from __future__ import annotations

from typing import Any

from compiler.expressions import render, text_of
from compiler.plan import Step
from operators.execution.records import WebhookAnswer
from operators.steps.base import Scope, StepKey, StepResult, StepServices, config_error


class Respond:
    """Yields ``{status, headers, body}``, the same that is kept as the answer. The first ``respond`` of an execution
    wins: the control plane sends that one."""

    def render(self, step: Step, scope: Scope) -> WebhookAnswer:
        """Evaluate status, headers and body.

        :raises StepFailedError: The status is no HTTP status, or the headers are no object of one-line texts.
        """
        config: dict[str, Any] = step.config
        rendered = {name: render(config[name], scope) for name in ("status", "headers", "body") if name in config}
        return WebhookAnswer(
            status=_status(rendered.get("status")),
            headers=_headers(rendered.get("headers")),
            body=rendered.get("body"),
        )

    async def call(self, request: WebhookAnswer, services: StepServices, key: StepKey) -> StepResult:
        """Return the answer."""
        return StepResult(request.model_dump(mode="json"), answer=request)


def _status(value: Any) -> int:
    if value is None:
        return 200
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 200 <= value <= 599:
        raise config_error(f"`status` must be a whole number from 200 to 599; got {text_of(value)}")
    return value


def _headers(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise config_error(f"`headers` must be an object of texts; got {text_of(value)}")
    headers = {name: text_of(item) for name, item in value.items()}
    for name, text in headers.items():
        # A line break would start another header of the tenant's choice.
        if not name or not name.isascii() or any(c in name + text for c in "\r\n\0"):
            raise config_error(f"`headers` must be texts of one line with ASCII names; got {name!r}")
    return headers
