"""``docs/roles.md`` from the table of permissions: ``python -m api.identity.documents``."""

from __future__ import annotations

from api.identity.permissions import PERMISSIONS, ROLES, permissions_of

_HEAD = """# Roles and permissions

Made from `api/identity/permissions.py` by `make schema`. Why it is so: [decision 20](decisions/0020-roles.md).

A member of an organisation has one role in it. `admin` is of the platform. Every route of `/api/v1` names the
permission it needs (`x-permission` in `/openapi.json`); without it the answer is 403 and names it. What belongs to
another organisation is 404 for everybody.
"""


def roles_page() -> str:
    """Return the page."""
    rows = [
        "| | " + " | ".join(f"`{role}`" for role in ROLES) + " | |",
        "|---|" + ":-:|" * len(ROLES) + "---|",
    ]
    for permission, meaning in PERMISSIONS.items():
        marks = ["yes" if permission in permissions_of(role) else "" for role in ROLES]
        rows.append(f"| `{permission}` | " + " | ".join(marks) + f" | {meaning} |")
    written = [f"| `{role}` | {', '.join(f'`{pattern}`' for pattern in ROLES[role])} |" for role in ROLES]
    parts = [_HEAD, *rows, "", "As the table in the code has them:", "", "| role | may |", "|---|---|", *written]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(roles_page(), end="")
