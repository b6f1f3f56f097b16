"""What callers send and see of subscriptions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from typing_extensions import TypeAliasType

from api.subscriptions.event_types import EventType

SubscribedEvent = TypeAliasType("SubscribedEvent", EventType)
"""Has a name of its own in the OpenAPI document."""

_EXAMPLE: JsonDict = {"url": "https://example.com/hooks", "event_types": ["execution.finished"]}


class SubscriptionCreate(BaseModel):
    """Asks for events to be sent to an address; without ``event_types``, or with none, all of them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    url: Annotated[str, Field(min_length=1, max_length=2000)]
    event_types: Annotated[list[SubscribedEvent], Field(max_length=20)] = []


class SubscriptionView(BaseModel):
    """A subscription; while it is ``paused`` its messages wait."""

    id: UUID
    url: str
    event_types: list[str]
    paused: bool
    created_at: datetime


class SubscriptionCreated(SubscriptionView):
    """A new subscription with its signing secret, which is never shown again."""

    secret: str


class SubscriptionList(BaseModel):
    """The subscriptions of an organisation, the oldest first."""

    subscriptions: list[SubscriptionView]
