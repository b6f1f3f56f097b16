"""The one table of roles and permissions. Routes name a permission of it; ``docs/roles.md`` is made from it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Literal, get_args

Role = Literal["admin", "organization_owner", "team_lead", "developer", "viewer"]
MemberRole = Literal["organization_owner", "team_lead", "developer", "viewer"]
MEMBER_ROLES: tuple[MemberRole, ...] = get_args(MemberRole)
"""Roles that an organisation gives; ``admin`` is of the platform."""

PERMISSIONS = {
    "account:own": "see and change the own account, its sessions and its organisations",
    "agent:create": "make an agent",
    "agent:edit": "change an agent",
    "agent:read": "see agents",
    "api_key:manage": "see and revoke every API key of the organisation",
    "api_key:own": "make API keys, see and revoke the own ones",
    "approval:answer": "decide an approval",
    "approval:read": "see approvals",
    "audit:read": "see who changed what in the organisation",
    "billing:manage": "change how the organisation pays",
    "billing:read": "see what the organisation pays",
    "delivery:manage": "have messages to subscribers and callers delivered again",
    "delivery:read": "see messages to subscribers and callers, and what became of them",
    "event:send": "send events, which start workflows",
    "execution:cancel": "cancel an execution",
    "execution:read": "see executions with what went in and came out",
    "execution:run": "start a workflow; run an execution again",
    "org:delete": "have the organisation deleted, and call that off",
    "org:edit": "rename the organisation; say whether publishing needs a review",
    "org:read": "see the organisation",
    "org:retention": "set how long executions and the audit log are kept",
    "org:warm_pods": "set which pods are kept started for Python steps",
    "platform:organizations": "make organisations",
    "relay:manage": "pause and resume the organisation; have dead letters delivered again",
    "relay:read": "see what is paused and what was given up",
    "review:decide": "approve or reject what somebody else wrote",
    "review:read": "see reviews, and whether publishing needs one",
    "review:request": "ask for a review",
    "subscription:manage": "have events sent to addresses; pause and remove that",
    "subscription:read": "see which addresses hear the events",
    "team:manage": "make and remove teams, change who is in them",
    "team:read": "see teams and who is in them",
    "template:create": "make a template of the organisation",
    "template:edit": "change and delete templates of the organisation",
    "template:read": "see templates, the organisation's and the public ones",
    "user:invite": "invite people, in a role not above the own",
    "user:manage": "change members' roles, remove members",
    "user:read": "see the members and who is invited",
    "variable:edit": "set and remove variables, secret ones too",
    "variable:read": "see variables; the values of secret ones nobody sees",
    "workflow:create": "make a workflow",
    "workflow:edit": "change a workflow",
    "workflow:pause": "pause and resume a workflow",
    "workflow:publish": "publish a workflow: the next executions use it",
    "workflow:read": "see workflows",
}
"""Permission -> what it lets one do."""

_VIEWER = ("agent:read", "workflow:read", "account:own", "api_key:own", "approval:read", "execution:read", "org:read",
           "relay:read", "review:read", "team:read", "template:read", "user:read", "variable:read")  # fmt: skip
_DEVELOPER = (*_VIEWER, "agent:create", "agent:edit", "workflow:create", "workflow:edit", "approval:answer",
              "delivery:read", "subscription:read", "event:send", "execution:*", "review:request",
              "template:*", "variable:*")  # fmt: skip
_TEAM_LEAD = (*_DEVELOPER, "team:*", "agent:*", "workflow:*", "approval:*", "event:*", "relay:*", "review:*",
              "delivery:*", "subscription:*", "user:invite")  # fmt: skip
_OWNER = (*_TEAM_LEAD, "audit:*", "org:*", "user:manage", "billing:*", "api_key:*")

ROLES: dict[Role, tuple[str, ...]] = {
    "admin": ("*",),
    "organization_owner": _OWNER,
    "team_lead": _TEAM_LEAD,
    "developer": _DEVELOPER,
    "viewer": _VIEWER,
}
"""Role -> what it may: permissions, ``noun:*`` for all of a noun, ``*`` for all."""


def allows(patterns: Iterable[str], permission: str) -> bool:
    """Tell whether one of the patterns covers a permission."""
    noun = permission.partition(":")[0]
    return any(pattern in (permission, f"{noun}:*", "*") for pattern in patterns)


def is_pattern(text: str) -> bool:
    """Tell whether a text is a permission, ``noun:*`` of a noun that there is, or ``*``."""
    noun, _, verb = text.partition(":")
    known_noun = verb == "*" and any(name.startswith(f"{noun}:") for name in PERMISSIONS)
    return text == "*" or text in PERMISSIONS or known_noun


def expand(patterns: Iterable[str]) -> frozenset[str]:
    """Return the permissions that patterns cover."""
    given = tuple(patterns)
    return frozenset(permission for permission in PERMISSIONS if allows(given, permission))


@cache
def permissions_of(role: Role) -> frozenset[str]:
    """Return the permissions of a role."""
    return expand(ROLES[role])


def is_above(role: Role, other: Role) -> bool:
    """Tell whether a role may something that the other may not: nobody gives a role that is above their own."""
    return not permissions_of(role) <= permissions_of(other)
