"""What the form asks of the control plane, by the runtime API."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from operators.settings import SettingsError, runtime_settings
from operators.tls import own_context

TIMEOUT = httpx.Timeout(15.0, connect=3.0)


class ControlPlaneError(Exception):
    """The control plane does not answer, or talks nonsense. Trying again later may help."""


class UnknownWorkflowError(Exception):
    """Nothing of this name is published."""


@dataclass(frozen=True)
class InvalidInputError(Exception):
    """The input does not fit the workflow's schema.

    :param errors: ``{pointer, message}``; text of the tenant, for whoever sent the input.
    """

    detail: str
    errors: list[dict[str, Any]] = field(default_factory=list)


async def get_form(organization: str, workflow_id: str) -> dict[str, Any]:
    """Return ``{workflow_id, name, description, version, input_schema}`` of the current version.

    :raises UnknownWorkflowError: There is no such workflow.
    :raises ControlPlaneError: No usable answer.
    """
    return await _call("GET", organization, workflow_id, "form")


async def start(organization: str, workflow_id: str, value: Any, *, page: str) -> dict[str, Any]:
    """Start the current version, once for each page and input; return ``{execution_id, run_id, url, existing}``.

    :param page: Names the page that the input was entered in.
    :raises InvalidInputError: The input does not fit.
    :raises UnknownWorkflowError: There is no such workflow.
    :raises ControlPlaneError: No usable answer; the execution may have been accepted, and the same call again shows it.
    """
    try:
        body = orjson.dumps({"input": value})
    except orjson.JSONEncodeError:
        raise InvalidInputError("The input is nested too deep.") from None
    # Of the input too: who goes back and enters another one means another execution.
    key = hashlib.sha256(page.encode() + b"\n" + body).hexdigest()
    return await _call("POST", organization, workflow_id, "executions", body, {"Idempotency-Key": key})


async def _call(
    method: str,
    organization: str,
    workflow_id: str,
    action: str,
    body: bytes | None = None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    path = f"/runtime/v1/workflows/{quote(organization, safe='')}/{quote(workflow_id, safe='')}/{action}"
    try:
        settings = runtime_settings()
        # Proxies of the environment are for the outside world; the control plane is ours.
        async with httpx.AsyncClient(
            base_url=settings.api_url, timeout=TIMEOUT, trust_env=False, verify=own_context()
        ) as client:
            headers = {"Authorization": f"Bearer {settings.token}", "Content-Type": "application/json", **more}
            response = await client.request(method, path, content=body, headers=headers)
        answer = response.json()
    except (SettingsError, httpx.HTTPError, ValueError) as error:
        raise ControlPlaneError(type(error).__name__) from None
    if not isinstance(answer, dict):
        raise ControlPlaneError("no object")
    if response.status_code == 404:
        raise UnknownWorkflowError
    if response.status_code in (400, 413, 422) and body is not None:
        raise InvalidInputError(str(answer.get("detail", "")), _errors(answer.get("errors")))
    if not response.is_success:
        raise ControlPlaneError(f"HTTP {response.status_code}")
    return answer


def _errors(value: Any) -> list[dict[str, Any]]:
    return [error for error in value if isinstance(error, dict)] if isinstance(value, list) else []
