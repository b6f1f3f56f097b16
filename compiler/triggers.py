"""The trigger types: one config model each, and their table."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from compiler.crons import CronError, known_time_zone, printed_cron
from compiler.fields import Duration, FormatModel, Json, problem
from compiler.webhook_auth import WebhookAuth

_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class TriggerConfig(FormatModel):
    """Base of the trigger configs."""

    available: ClassVar[bool] = False


class ManualConfig(TriggerConfig):
    """Started by a person or by the API."""

    available: ClassVar[bool] = True


class WorkflowTriggerConfig(TriggerConfig):
    """May be started by another workflow."""

    available: ClassVar[bool] = True


class EventConfig(TriggerConfig):
    """Started by an event of a type."""

    available: ClassVar[bool] = True

    type: str = Field(min_length=1, max_length=500, description="The event's type, letter by letter.")
    filter: Json = Field(
        default=None, description="One expression over input and trigger.", json_schema_extra={"type": "string"}
    )


def check_cron(text: str) -> str:
    """Return a cron expression of five fields, printed anew.

    :raises PydanticCustomError: It is none, or it never comes true.
    """
    try:
        return printed_cron(text)
    except CronError as error:
        raise problem("invalid_trigger", str(error)) from error


def check_time_zone(name: str) -> str:
    """Return a time zone's name as the list of IANA has it.

    :raises PydanticCustomError: There is no such zone.
    """
    known = known_time_zone(name)
    if known is None:
        raise problem("invalid_trigger", "must be a time zone such as 'UTC' or 'Europe/Berlin'")
    return known


class ScheduleConfig(TriggerConfig):
    """Started by the clock; ``input`` is what each of its executions gets."""

    available: ClassVar[bool] = True

    cron: Annotated[str, AfterValidator(check_cron)]
    timezone: Annotated[str, AfterValidator(check_time_zone)] = "UTC"
    input: Json = Field(default_factory=dict, description="The executions' input; {} without it.")


class WebhookResponse(FormatModel):
    """When a webhook answers: at once, with the result, or by calling back."""

    mode: Literal["async", "sync", "callback"] = "async"
    timeout: Duration = Field(default=30.0, description="How long a sync webhook waits.")


def serve_path(path: str) -> str:
    """Return a webhook's path as it is served after ``/webhook/<organisation>/``.

    :raises PydanticCustomError: It has empty or odd segments.
    """
    served = path.removeprefix("/webhook/") if path.startswith("/webhook/") else path.removeprefix("/")
    for segment in served.split("/"):
        # `.` and `..` are taken out of URLs by clients and proxies: such a path could never be called.
        if _SEGMENT.fullmatch(segment) is None or segment in (".", ".."):
            raise problem("invalid_trigger", "must be segments of A-Z, a-z, 0-9, '.', '_' and '-' between slashes")
    return served


class WebhookConfig(TriggerConfig):
    """Started by an HTTP call."""

    available: ClassVar[bool] = True

    path: Annotated[str, AfterValidator(serve_path)] = Field(max_length=500)
    method: str = "POST"
    auth: WebhookAuth = Field(default_factory=lambda: WebhookAuth(type="none"))
    response: WebhookResponse = Field(default_factory=WebhookResponse)

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str) -> str:
        if method.upper() not in METHODS:
            raise problem("invalid_trigger", f"must be one of {', '.join(METHODS)}")
        return method.upper()


TRIGGER_TYPES: dict[str, type[TriggerConfig]] = {
    "manual": ManualConfig,
    "schedule": ScheduleConfig,
    "event": EventConfig,
    "workflow": WorkflowTriggerConfig,
    "webhook": WebhookConfig,
}
"""Trigger type -> its config model."""


def trigger_as_json(config: TriggerConfig) -> dict[str, Any]:
    """Return a trigger's config as the plan holds it."""
    data: dict[str, Any] = config.model_dump(mode="json", by_alias=True)
    if isinstance(config, WebhookConfig):
        data["auth"] = config.auth.model_dump(exclude_none=True)
        data["response"] = {"mode": config.response.mode, "timeout_seconds": config.response.timeout}
    return data
