"""Settings of the processes that run steps: Airflow's, and ``agent-factory run``. Read from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from operators.egress.policy import EgressPolicy, Endpoint

API_URL = "AGENT_FACTORY_API_URL"
RUNTIME_TOKEN = "AGENT_FACTORY_RUNTIME_TOKEN"  # noqa: S105  # the variable's name, not a token
EGRESS_ALLOW = "AGENT_FACTORY_EGRESS_ALLOW"
PRELOAD = "AGENT_FACTORY_PRELOAD"
"""Names, by comma, what Airflow's processes import ahead for those that they fork: seconds once, and memory. The SDKs
of model providers, and ``PRELOAD_KUBERNETES`` where code runs in pods."""
PRELOAD_KUBERNETES = "kubernetes"
"""No model provider is called so."""
RESULT_MAX_BYTES = "AGENT_FACTORY_RESULT_MAX_BYTES"
AIRFLOW_RETENTION_DAYS = "AGENT_FACTORY_AIRFLOW_RETENTION_DAYS"
SEGMENTS_IN_TRIGGERER = "AGENT_FACTORY_SEGMENTS_IN_TRIGGERER"
LEAST_RESULT_BYTES, MOST_RESULT_BYTES = 1_000_000, 128_000_000
OWN_URLS = (
    API_URL,
    "AGENT_FACTORY_AIRFLOW_URL",
    "AGENT_FACTORY_AMQP_URL",
    "AGENT_FACTORY_DATABASE_OWNER_URL",
    "AGENT_FACTORY_DATABASE_URL",
    "AGENT_FACTORY_REDIS_URL",
    "AIRFLOW__API__BASE_URL",
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
)
"""Variables that say where parts of the platform are."""
POD_CONFIGS = "AGENT_FACTORY_POD_CONFIGS"
POD_CONNECTION = "agent_factory_pods_"
FREQUENT_DAGS = ("agent-factory.reconcile", "agent-factory.pods")
"""Our DAGs that run so often that their runs and logs go after a day."""
_PORTS = {"amqp": 5672, "amqps": 5671, "http": 80, "https": 443, "postgresql": 5432, "redis": 6379, "rediss": 6379}


class SettingsError(Exception):
    """A setting is missing or cannot be used; trying again never helps."""


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """How the runtime API is reached.

    :param api_url: Base URL of the control plane, without a slash at its end.
    :param token: Bearer token of the runtime API.
    """

    api_url: str
    token: str = field(repr=False)


def runtime_settings(environment: Mapping[str, str] | None = None) -> RuntimeSettings:
    """Read the settings.

    :raises SettingsError: One is missing, or the URL is none.
    """
    values = os.environ if environment is None else environment
    missing = [name for name in (API_URL, RUNTIME_TOKEN) if not values.get(name)]
    if missing:
        raise SettingsError(f"Airflow's processes must have {' and '.join(missing)} set; got nothing")
    url = values[API_URL].rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SettingsError(f"{API_URL} must be a URL that begins with http:// or https://; got {url!r}")
    return RuntimeSettings(url, values[RUNTIME_TOKEN])


def pod_connection(organization: str) -> str:
    """Return the id of Airflow's connection with which an organisation's pods are started."""
    return POD_CONNECTION + organization.replace("-", "_")


def airflow_retention_days(environment: Mapping[str, str] | None = None) -> int:
    """Return how many days Airflow's runs and logs are kept.

    :raises SettingsError: The setting is no number of days.
    """
    text = (os.environ if environment is None else environment).get(AIRFLOW_RETENTION_DAYS) or "30"
    if not text.isdecimal() or int(text) < 2:
        raise SettingsError(f"{AIRFLOW_RETENTION_DAYS} must be a number of days, at least 2; got {text!r}")
    return int(text)


def result_max_bytes(environment: Mapping[str, str] | None = None) -> int:
    """Return how many bytes of JSON an output may have.

    :raises SettingsError: The setting is no number of bytes that a pod can hand out.
    """
    text = (os.environ if environment is None else environment).get(RESULT_MAX_BYTES) or "64000000"
    if not text.isdecimal() or not LEAST_RESULT_BYTES <= int(text) <= MOST_RESULT_BYTES:
        allowed = f"from {LEAST_RESULT_BYTES:,} to {MOST_RESULT_BYTES:,}"
        raise SettingsError(f"{RESULT_MAX_BYTES} must be a number of bytes {allowed}; got {text!r}")
    return int(text)


def segments_in_triggerer(environment: Mapping[str, str] | None = None) -> bool:
    """Tell whether light segments begin in Airflow's triggerer instead of a worker.

    :raises SettingsError: The setting is neither 0 nor 1.
    """
    text = (os.environ if environment is None else environment).get(SEGMENTS_IN_TRIGGERER) or "0"
    if text not in ("0", "1"):
        raise SettingsError(f"{SEGMENTS_IN_TRIGGERER} must be 0 or 1; got {text!r}")
    return text == "1"


def egress_policy(environment: Mapping[str, str] | None = None) -> EgressPolicy:
    """Return what steps may reach beyond the public network: a setting of the deployment, never of a tenant.

    :raises SettingsError: ``AGENT_FACTORY_EGRESS_ALLOW`` cannot be read.
    """
    from operators.egress.policy import EgressPolicy

    values = os.environ if environment is None else environment
    own = [_endpoint(values[name]) for name in OWN_URLS if values.get(name)]
    try:
        return EgressPolicy.parse(values.get(EGRESS_ALLOW, ""), own=tuple(filter(None, own)))
    except ValueError as error:
        raise SettingsError(f"{EGRESS_ALLOW} {error}") from None


def _endpoint(url: str) -> Endpoint | None:
    """Return where a URL of a setting leads; None for a socket or a file."""
    from operators.egress.policy import Endpoint

    try:
        parts = urlsplit(url.removeprefix("db+"))
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
    except ValueError:
        return None
    return Endpoint(parts.hostname, port) if parts.hostname else None
