"""What a webhook's caller hears."""

from __future__ import annotations

import re
from typing import Any

import orjson
from fastapi import Response

from api.executions.repository import Outcome
from api.executions.schemas import ExecutionAccepted
from api.problems import Problem

# Of the connection, of the message's length, or of our origin: a tenant may not set them.
_RESERVED = frozenset(
    {
        "alt-svc", "clear-site-data", "connection", "content-encoding", "content-length", "content-security-policy",
        "date", "keep-alive", "location", "proxy-authenticate", "ratelimit", "ratelimit-policy", "server",
        "service-worker-allowed", "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding",
        "upgrade", "x-content-type-options", "x-request-id",
    }
)  # fmt: skip
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,4000}")
# A tenant's page must not run as a page of the control plane's origin.
_SHIELD = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}


def accepted_answer(accepted: ExecutionAccepted) -> Response:
    """Return 202: the execution will run; ``Location`` is where to see it."""
    location = f"/api/v1/executions/{accepted.execution_id}"
    return Response(accepted.model_dump_json(), 202, {"location": location}, "application/json")


def outcome_answer(accepted: ExecutionAccepted, outcome: Outcome) -> Response:
    """Return the answer to a sync webhook: the ``respond`` step's, else the end, else 202.

    A failed execution is a 500 that names the execution but not the reason, which is not for the outside.
    """
    if outcome.answer is not None:
        return _respond(outcome.answer)
    if not outcome.ended:
        return accepted_answer(accepted)
    identifier = str(accepted.execution_id)
    if outcome.status != "success":
        detail = f"The execution ended: {outcome.status}."
        return Problem(
            500, "execution_failed", detail, execution_id=identifier, execution_status=outcome.status
        ).as_response()
    body = {"execution_id": identifier, "status": outcome.status, "output": outcome.output}
    return Response(orjson.dumps(body), 200, media_type="application/json")


def _respond(answer: dict[str, Any]) -> Response:
    """Return what the ``respond`` step said; a text with a content type of its own is sent as it is."""
    status = answer["status"] if 200 <= answer["status"] <= 599 else 500
    headers = {
        name.lower(): value
        for name, value in answer["headers"].items()
        if _HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) and name.lower() not in _RESERVED
    }
    body = answer["body"]
    content_type = headers.pop("content-type", None)
    if status in (204, 304):
        return Response(None, status, {**headers, **_SHIELD})
    verbatim = content_type is not None and isinstance(body, str)
    content = body.encode() if verbatim else orjson.dumps(body)
    headers["content-type"] = content_type or "application/json"
    return Response(content, status, {**headers, **_SHIELD})
