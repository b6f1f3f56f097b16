"""``approval``: waits for a person's decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import JsonValue

from compiler.expressions import render, text_of
from compiler.plan import Step
from operators.execution.records import ApprovalRequest, ApprovalState, TimeoutPolicy
from operators.steps.base import Scope, StepFailedError, StepResult, StepServices, Waiting, Wake, config_error

MAX_TITLE = 1_000
MAX_BODY = 100_000
MAX_ASSIGNEES = 100


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and for how long; ``routed`` tells whether the decision chooses the way."""

    title: str
    body: str | None
    assignees: tuple[str, ...]
    timeout_seconds: float | None
    on_timeout: TimeoutPolicy
    routed: bool


class Approval:
    """Yields ``{decision, comment, by, at}``. Without routes a rejection fails the step with ``approval_rejected``."""

    def render(self, step: Step, scope: Scope) -> Question:
        """Evaluate title, body and assignees.

        :raises StepFailedError: They are too long, or an assignee is no name.
        """
        config: dict[str, Any] = step.config
        body = config.get("body")
        return Question(
            title=_text("title", render(config["title"], scope), MAX_TITLE),
            body=None if body is None else _text("body", render(body, scope), MAX_BODY),
            assignees=_names(config.get("assignees") or [], scope),
            timeout_seconds=config.get("timeout"),
            on_timeout=config.get("on_timeout") or "fail",
            routed=bool(config.get("routes")),
        )

    async def poll(
        self, request: Question, services: StepServices, waiting: Waiting, now: datetime
    ) -> StepResult | Wake:
        """Ask, or look how it stands."""
        if services.approvals is None:
            raise StepFailedError("approval_unanswered", "there is nobody to ask for an approval", retryable=False)
        question = ApprovalRequest(
            epoch=waiting.key.epoch,
            title=request.title,
            body=request.body,
            assignees=list(request.assignees),
            timeout_seconds=request.timeout_seconds,
            on_timeout=request.on_timeout,
        )
        state = await services.approvals(waiting.key, question)
        if state.decision is None:
            # Counted from what the store says is left: its clock decides, and this one may go ahead.
            until = None if state.seconds_left is None else now + timedelta(seconds=state.seconds_left)
            return Wake(until=until, awaited=(state.id,), link=state.url)
        if state.decision == "fail":
            raise StepFailedError(
                "approval_timeout", f"nobody decided within {request.timeout_seconds or 0:g} s", retryable=False
            )
        return self.judge(request, StepResult(_output(state)))

    def judge(self, request: Question, result: StepResult) -> StepResult:
        """Return a decision that lets the flow go on.

        :raises StepFailedError: It is a rejection, and no routes say where that leads.
        """
        output = result.output
        if request.routed or not isinstance(output, dict) or output.get("decision") != "reject":
            return result
        comment = output.get("comment")
        reason = f": {comment}" if comment else ""
        raise StepFailedError("approval_rejected", f"the approval was rejected{reason}", retryable=False)

    async def abandon(self, request: Question, services: StepServices, waiting: Waiting) -> None:
        """Do nothing: the store sees by the journal that nobody waits any more."""


def _output(state: ApprovalState) -> dict[str, JsonValue]:
    at = None if state.at is None else state.at.astimezone(UTC).isoformat()
    return {"decision": state.decision, "comment": state.comment, "by": state.by, "at": at}


def _text(key: str, value: Any, limit: int) -> str:
    """Return a value as text that UTF-8 can hold."""
    text = text_of(value).encode("utf-8", "replace").decode()
    if len(text) > limit:
        raise config_error(f"`{key}` must have at most {limit:,} characters; got {len(text):,}")
    return text


def _names(assignees: list[Any], scope: Scope) -> tuple[str, ...]:
    """Evaluate the assignees; an expression may give one name or a list of names."""
    values = [render(assignee, scope) for assignee in assignees]
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    if assignees and not names:
        # Nobody is not everybody.
        raise config_error("`assignees` must name somebody; got an empty list. Leave it out to let anybody decide")
    wrong = [name for name in names if not isinstance(name, str) or not 0 < len(name) <= 200]
    if wrong:
        raise config_error(f"`assignees` must be names of at most 200 characters; got {text_of(wrong[0])[:100]}")
    if len(names) > MAX_ASSIGNEES:
        raise config_error(f"`assignees` must be at most {MAX_ASSIGNEES} names; got {len(names):,}")
    return tuple(_text("assignees", name, 200) for name in names)
