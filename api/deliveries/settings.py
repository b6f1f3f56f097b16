"""Settings of the broker that our own events are published to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from yarl import URL

from api.gateway.settings import Words
from api.subscriptions.event_types import EVENT_TYPES

_SCHEMES = ("amqp", "amqps")


class BrokerSettings(BaseSettings):
    """Settings of the broker.

    :param amqp_url: RabbitMQ, which hears our own events; without it there is none. It holds a password.
    :param amqp_exchange: The topic exchange that they are published to; made where it is missing.
    :param amqp_event_types: Which are published; all, where it is empty.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_FACTORY_", extra="ignore", populate_by_name=True)

    amqp_url: SecretStr | None = None
    amqp_exchange: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,126}$")] = "agent-factory.events"
    amqp_event_types: Words = ()

    @field_validator("amqp_url")
    @classmethod
    def _is_amqp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        try:
            url = URL(value.get_secret_value())
            is_usable = url.scheme in _SCHEMES and bool(url.host) and url.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            # Not what it is: there is a password in it.
            raise ValueError("must be a URL like 'amqps://user:password@host:5671/vhost'")
        return value

    @field_validator("amqp_exchange")
    @classmethod
    def _is_not_the_brokers_own(cls, value: str) -> str:
        if value.startswith("amq."):
            raise ValueError("must not begin with 'amq.', which names the broker's own exchanges")
        return value

    @field_validator("amqp_event_types", mode="before")
    @classmethod
    def _split_types(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("amqp_event_types")
    @classmethod
    def _are_event_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if word not in EVENT_TYPES:
                raise ValueError(f"must be of {', '.join(EVENT_TYPES)}; got {word[:60]!r}")
        return value

    @property
    def brokered_events(self) -> frozenset[str]:
        """The types of events that are published; none without a broker."""
        if self.amqp_url is None:
            return frozenset()
        return frozenset(self.amqp_event_types or EVENT_TYPES)
