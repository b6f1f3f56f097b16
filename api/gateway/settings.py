"""Settings of the gateway: what lies around the API's endpoints."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from api.gateway.rates import parse_rates

_ORIGIN = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

Words = Annotated[tuple[str, ...], NoDecode]
"""A list that is written with commas."""


class GatewaySettings(BaseSettings):
    """Settings of the gateway. Durations are in seconds, sizes in bytes.

    :param redis_url: Where requests are counted for the rate limits; without it each process counts for itself.
    :param rate_limits: ``off``, or changes of the table, like ``execute=100/minute, webhook=off``.
    :param trusted_proxies: Addresses and networks whose ``X-Forwarded-For`` is believed.
    :param cors_origins: Origins whose pages may call the API. None may, where it is empty.
    :param body_seconds: How long a body may take to come.
    :param request_seconds: How long an endpoint may take to begin its answer, beyond what it was asked to wait.
    :param header_seconds: How long the head of a request may take to come.
    :param max_header_bytes: Of all header fields and the request line.
    :param max_url_bytes: Of the path, and of the query.
    :param max_connections: After so many connections or requests at work a process answers 503.
    :param metrics_token: Bearer token of ``/metrics``; without it only this machine may read them.
    :param relay_metrics_port: Where a relay in a process of its own shows its metrics, on the loopback interface.
    :param log_format: ``text`` for people, ``json`` for a log store.
    """

    model_config = SettingsConfigDict(env_prefix="AGENT_FACTORY_", extra="ignore", populate_by_name=True)

    redis_url: SecretStr | None = None
    rate_limits: str = ""
    trusted_proxies: Words = ()
    cors_origins: Words = ()

    body_seconds: Annotated[float, Field(gt=0)] = 30.0
    request_seconds: Annotated[float, Field(gt=0)] = 60.0
    header_seconds: Annotated[float, Field(gt=0)] = 15.0
    max_header_bytes: Annotated[int, Field(ge=1024)] = 32_768
    max_url_bytes: Annotated[int, Field(ge=256)] = 8_192
    max_connections: Annotated[int, Field(ge=1)] = 1_000

    metrics_token: SecretStr | None = None
    relay_metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    log_format: Literal["text", "json"] = "text"

    @field_validator("trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip().rstrip("/") for word in value.split(",") if word.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            try:
                ipaddress.ip_network(word)
            except ValueError:
                raise ValueError(f"must be addresses and networks with commas between; got {word[:60]!r}") from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            if not _ORIGIN.fullmatch(word):
                raise ValueError(f"must be origins like 'https://app.example.com', never '*'; got {word[:60]!r}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be a URL like 'redis://:password@host:6379/0'")
        return value

    @field_validator("metrics_token")
    @classmethod
    def _is_no_blank_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("must not be empty")
        return value

    @field_validator("rate_limits")
    @classmethod
    def _is_a_table(cls, value: str) -> str:
        parse_rates(value)
        return value
