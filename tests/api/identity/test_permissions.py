"""The table of roles and permissions, and the page made from it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from api.auth import Permission
from api.identity.documents import roles_page
from api.identity.permissions import MEMBER_ROLES, PERMISSIONS, ROLES, allows, is_above, is_pattern, permissions_of

pytestmark = pytest.mark.unit

SEED = {
    "admin": ["*"],
    "organization_owner": ["org:*", "user:manage", "billing:*"],
    "team_lead": ["team:*", "agent:*", "workflow:*"],
    "developer": ["agent:create", "agent:edit", "workflow:create", "workflow:edit"],
    "viewer": ["agent:read", "workflow:read"],
}


@pytest.mark.parametrize("role", SEED)
def test_roles_have_what_the_architecture_gives_them(role: str) -> None:
    assert set(SEED[role]) <= set(ROLES[role])  # type: ignore[index]


def test_each_role_may_what_the_next_lower_one_may() -> None:
    roles = list(ROLES)
    for higher, lower in pairwise(roles):
        assert permissions_of(lower) < permissions_of(higher)
        assert is_above(higher, lower)
        assert not is_above(lower, higher)
        assert not is_above(lower, lower)


def test_an_admin_may_everything_and_an_owner_nothing_of_the_platform() -> None:
    assert permissions_of("admin") == set(PERMISSIONS)
    assert {name for name in permissions_of("organization_owner") if name.startswith("platform:")} == set()
    assert "admin" not in MEMBER_ROLES


@pytest.mark.parametrize(
    ("pattern", "permission", "expected"),
    [
        ("workflow:*", "workflow:publish", True),
        ("workflow:*", "workflows:publish", False),
        ("work:*", "workflow:publish", False),
        ("*", "billing:read", True),
        ("workflow:read", "workflow:read", True),
        ("workflow:read", "workflow:readers", False),
        ("", "workflow:read", False),
        (":*", "workflow:read", False),
    ],
)
def test_wildcards(pattern: str, permission: str, expected: bool) -> None:
    assert allows([pattern], permission) is expected


def test_every_pattern_of_the_table_is_one() -> None:
    for patterns in ROLES.values():
        assert all(is_pattern(pattern) for pattern in patterns)
    assert not any(is_pattern(text) for text in ("", ":*", "nothing:*", "workflow", "workflow:", "work:*", "**"))


def test_a_route_cannot_name_an_unknown_permission() -> None:
    with pytest.raises(ValueError, match="workflow:publsh"):
        Permission("workflow:publsh")


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).parents[3] / "docs" / "roles.md"
    assert page.read_text() == roles_page(), "run `make schema`"
