"""Where the control plane is: read from the environment of Airflow's processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

API_URL = "AGENT_FACTORY_API_URL"
RUNTIME_TOKEN = "AGENT_FACTORY_RUNTIME_TOKEN"  # noqa: S105  # the variable's name, not a token


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
