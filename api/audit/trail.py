"""What a request will leave in the audit log, and writing it in the transaction of the change.

A route of ``/api/v1`` that changes something is audited unless ``NOT_AUDITED`` says why not. Who uses ``Transaction``
gets its entry written at the end of it; what opens transactions of its own calls :func:`write` or :func:`record` in
the one that makes the change. Services say by :func:`note` what was there before and after.
"""

from __future__ import annotations

import hashlib
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import UUID

import orjson
from fastapi import Request
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.repository import AuditRepository, Line, add_of_platform
from api.gateway.admission import address_of
from api.gateway.logs import request_id
from api.gateway.routes import route_template

if TYPE_CHECKING:
    from api.identity.callers import Caller

Actor = Literal["user", "api_key", "operator"]

PREFIX = "/api/v1"
NOT_AUDITED = {
    ("POST", "/api/v1/workflows/validate"): "keeps nothing",
    ("POST", "/api/v1/agents/{agent_id}/preview"): "keeps nothing",
    ("POST", "/api/v1/agents/{agent_id}/test"): "keeps nothing",
    ("POST", "/api/v1/templates/{template_id}/preview"): "keeps nothing",
    ("POST", "/api/v1/auth/refresh"): "goes on with a session whose beginning is in the log",
    ("POST", "/api/v1/auth/oidc/{provider}/begin"): "logs nobody in; its end is in the log",
    ("POST", "/api/v1/auth/password/forgotten"): "sends a mail at most; the reset itself is in the log",
}
"""Routes of ``/api/v1`` that leave no entry although their method may change something, each with its reason."""

ACTIONS = {
    ("POST", "/api/v1/auth/token"): "session.begin",
    ("POST", "/api/v1/auth/oidc/{provider}/finish"): "session.begin",
    ("POST", "/api/v1/auth/switch"): "session.switch",
    ("POST", "/api/v1/auth/logout"): "session.end",
    ("DELETE", "/api/v1/auth/sessions"): "session.end_all",
    ("DELETE", "/api/v1/auth/sessions/{session_id}"): "session.end",
    ("PUT", "/api/v1/auth/password"): "password.change",
    ("POST", "/api/v1/auth/password/reset"): "password.reset",
    ("POST", "/api/v1/auth/invitations/accept"): "invitation.accept",
    ("POST", "/api/v1/invitations"): "invitation.make",
    ("DELETE", "/api/v1/invitations/{invitation_id}"): "invitation.revoke",
    ("POST", "/api/v1/organizations"): "organization.make",
    ("PATCH", "/api/v1/organizations/{slug}"): "organization.rename",
    ("POST", "/api/v1/organizations/{slug}/deletion"): "organization.order_deletion",
    ("DELETE", "/api/v1/organizations/{slug}/deletion"): "organization.call_off_deletion",
    ("PUT", "/api/v1/retention"): "organization.change_retention",
    ("PUT", "/api/v1/warm-pods"): "organization.change_warm_pods",
    ("PUT", "/api/v1/reviews/policy"): "organization.change_review_policy",
    ("POST", "/api/v1/import"): "organization.import",
    ("PUT", "/api/v1/teams/{team_id}/members/{user_id}"): "team.add_member",
    ("DELETE", "/api/v1/teams/{team_id}/members/{user_id}"): "team.remove_member",
    ("PUT", "/api/v1/members/{user_id}"): "member.change",
    ("DELETE", "/api/v1/members/{user_id}"): "member.remove",
    ("POST", "/api/v1/workflows/{workflow_id}/inputs"): "input.prepare",
    ("PUT", "/api/v1/agents/{agent_id}/workflow"): "agent.save_draft",
}
"""Actions of routes that :func:`action_of` would name badly, or that have no permission to be named after."""


def action_of(method: str, path: str, permission: str | None, endpoint: str) -> str | None:
    """Return what the audit log calls a route; None for one that leaves no entry.

    It is the noun of the route's permission and the verb of its endpoint, such as ``agent.create``.
    """
    if method == "GET" or not path.startswith(PREFIX) or (method, path) in NOT_AUDITED:
        return None
    noun = permission.partition(":")[0] if permission else path.split("/")[3]
    return ACTIONS.get((method, path)) or f"{noun}.{endpoint.partition('_')[0]}"


@dataclass
class Trail:
    """What is known of a request that may change something."""

    address: str
    resource: str
    caller: Caller | None = None
    action: str | None = None
    before: bytes | None = None
    after: bytes | None = None
    is_written: bool = False


_trail: ContextVar[Trail | None] = ContextVar("trail", default=None)


async def start_trail(request: Request) -> None:
    """Begin a request's trail: a dependency of the application."""
    path, template = request.url.path, route_template(request.scope)
    # What is done stands behind what it is done to: /agents/{agent_id}/publish.
    words = template[template.rfind("}") + 1 :].count("/") if "}" in template else 0
    resource = "/".join(path.split("/")[: -words or None]).removeprefix(f"{PREFIX}/")
    _trail.set(Trail(address_of(request).removeprefix("address:"), resource))


def admit(caller: Caller, action: str | None) -> None:
    """Say who makes the request, and what the log will call it."""
    if (trail := _trail.get()) is not None:
        trail.caller, trail.action = caller, action


def note(*, resource: str | None = None, before: Any = None, after: Any = None) -> None:
    """Say what a request changes; of ``before`` and ``after`` only digests are kept.

    Never give a secret, nor what can be guessed from a list: give its ciphertext.
    """
    trail = _trail.get()
    if trail is None:
        return
    trail.resource = resource or trail.resource
    trail.before = trail.before if before is None else digest(before)
    trail.after = trail.after if after is None else digest(after)


def forget() -> None:
    """Leave no entry: the request turned out to change nothing, such as a dry run."""
    if (trail := _trail.get()) is not None:
        trail.action = None


async def write(session: AsyncSession) -> None:
    """Write the request's entry, once, where it is one that leaves an entry."""
    trail = _trail.get()
    if trail is None or trail.caller is None or trail.action is None or trail.is_written:
        return
    trail.is_written = True
    line = _line(trail, trail.action, trail.resource, trail.before, trail.after)
    await AuditRepository(session, trail.caller.organization_id).add(line)


async def record(
    session: AsyncSession,
    action: str,
    resource: str,
    *,
    organization_id: UUID | None,
    user_id: UUID | None = None,
    before: Any = None,
    after: Any = None,
) -> None:
    """Write an entry of a change whose organisation or actor only its own code knows.

    :param organization_id: None for the platform's own log.
    :param user_id: Who did it, where no permission was asked for; without one it was the operator.
    """
    trail = _trail.get()
    line = _line(trail, action, resource, digest(before), digest(after), user_id)
    if trail is not None:
        trail.is_written = True
    if organization_id is None:
        await add_of_platform(session, line)
    else:
        await AuditRepository(session, organization_id).add(line)


def digest(value: Any) -> bytes | None:
    """Return the sha256 of a value's canonical JSON: keys sorted, no spaces; None for nothing."""
    if value is None:
        return None
    written = orjson.dumps(value, default=_plain, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return hashlib.sha256(written).digest()


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    raise TypeError(f"no JSON is known for {type(value).__name__}")


def _line(
    trail: Trail | None,
    action: str,
    resource: str,
    before: bytes | None,
    after: bytes | None,
    user_id: UUID | None = None,
) -> Line:
    caller = trail.caller if trail else None
    return Line(
        actor=_kind(caller, user_id),
        user_id=caller.user_id if caller else user_id,
        api_key_id=caller.key_id if caller else None,
        action=action,
        resource=resource[:500],
        before=before,
        after=after,
        address=trail.address if trail else None,
        request_id=request_id.get() if trail else None,
    )


def _kind(caller: Caller | None, user_id: UUID | None) -> Actor:
    if caller is None:
        return "operator" if user_id is None else "user"
    if caller.via == "token":
        return "user"
    return caller.via
