"""Users, sessions, members, invitations, teams, API keys and signing keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from api.migrations.tenancy import APP, SYSTEM, protect, reserve

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ROLES = "role IN ('organization_owner', 'team_lead', 'developer', 'viewer')"
TABLES = ("user_identities", "user_sessions", "refresh_tokens", "password_resets", "attempts", "signing_keys")
TABLES_OF_ORGANIZATIONS = ("memberships", "teams", "team_members", "invitations", "api_keys")


def _id(name: str = "id") -> sa.Column[Any]:
    return sa.Column(name, sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False)


def _uuid(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Uuid(), nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _bytes(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), server_default=sa.text("false"), nullable=False)


def _now(name: str = "created_at") -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def _moment(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _refers(
    table: str, columns: list[str], to: str, keys: list[str], ondelete: str | None = None
) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{'_'.join(columns)}_{to}")
    return sa.ForeignKeyConstraint(columns, [f"{to}.{key}" for key in keys], name=name, ondelete=ondelete)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _of_organization(table: str) -> sa.ForeignKeyConstraint:
    return _refers(table, ["organization_id"], "organizations", ["id"])


def _of_user(table: str, column: str = "user_id", ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return _refers(table, [column], "users", ["id"], ondelete)


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns), unique=False)


def upgrade() -> None:
    """Make the tables."""
    _make_global_tables()
    _make_tables_of_organizations()
    for table in TABLES_OF_ORGANIZATIONS:
        protect(table)
    for table in TABLES:
        reserve(table)
    _protect_users()


def _protect_users() -> None:
    """Let a transaction see the users who are members of its organisation, and change none."""
    member = "EXISTS (SELECT FROM memberships WHERE memberships.user_id = users.id)"
    op.execute("ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY of_organization ON users FOR SELECT USING ({member})")
    op.execute(f"CREATE POLICY of_system ON users TO {SYSTEM} USING (true) WITH CHECK (true)")
    op.execute(f"GRANT SELECT ON users TO {APP}")
    reserve("users")


def _make_global_tables() -> None:
    op.create_table(
        "users",
        _id(),
        _text("email"),
        _text("name"),
        _text("password_hash", nullable=True),
        _flag("verified"),
        _flag("platform_admin"),
        _moment("disabled_at"),
        _now(),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_users_lower_email")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        _key("users", "id"),
    )
    op.create_table(
        "user_identities",
        _text("issuer"),
        _text("subject"),
        _uuid("user_id"),
        _now(),
        _of_user("user_identities"),
        _key("user_identities", "issuer", "subject"),
    )
    _index("user_identities", "user_id")
    op.create_table(
        "user_sessions",
        _id(),
        _uuid("user_id"),
        _uuid("acting_organization_id"),
        _text("client"),
        _now(),
        _now("used_at"),
        _moment("expires_at", nullable=False),
        _moment("revoked_at"),
        _of_user("user_sessions"),
        _refers("user_sessions", ["acting_organization_id"], "organizations", ["id"], "CASCADE"),
        _key("user_sessions", "id"),
    )
    _index("user_sessions", "user_id")
    op.create_table(
        "refresh_tokens",
        _bytes("digest"),
        _uuid("session_id"),
        _now(),
        _moment("expires_at", nullable=False),
        _moment("used_at"),
        _refers("refresh_tokens", ["session_id"], "user_sessions", ["id"], "CASCADE"),
        _key("refresh_tokens", "digest"),
    )
    _index("refresh_tokens", "session_id")
    op.create_table(
        "password_resets",
        _bytes("digest"),
        _uuid("user_id"),
        sa.Column("by_mail", sa.Boolean(), nullable=False),
        _now(),
        _moment("expires_at", nullable=False),
        _of_user("password_resets"),
        _key("password_resets", "digest"),
    )
    _index("password_resets", "user_id")
    op.create_table(
        "attempts",
        _text("subject"),
        sa.Column("count", sa.Integer(), nullable=False),
        _now("began_at"),
        _key("attempts", "subject"),
    )
    op.create_table(
        "signing_keys",
        _text("kid"),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        _bytes("private_key"),
        _now(),
        _moment("signs_from", nullable=False),
        _moment("trusted_until"),
        _key("signing_keys", "kid"),
    )


def _make_tables_of_organizations() -> None:
    op.create_table(
        "memberships",
        _uuid("organization_id"),
        _uuid("user_id"),
        _text("role"),
        _now(),
        sa.CheckConstraint(ROLES, name=op.f("ck_memberships_role")),
        _of_organization("memberships"),
        _of_user("memberships"),
        _key("memberships", "organization_id", "user_id"),
    )
    _index("memberships", "user_id")
    op.create_table(
        "teams",
        _uuid("organization_id"),
        _id(),
        _text("name"),
        _now(),
        sa.UniqueConstraint("organization_id", "name", name=op.f("uq_teams_organization_id_name")),
        _of_organization("teams"),
        _key("teams", "organization_id", "id"),
    )
    op.create_table(
        "team_members",
        _uuid("organization_id"),
        _uuid("team_id"),
        _uuid("user_id"),
        _of_organization("team_members"),
        _refers("team_members", ["organization_id", "team_id"], "teams", ["organization_id", "id"], "CASCADE"),
        _refers(
            "team_members", ["organization_id", "user_id"], "memberships", ["organization_id", "user_id"], "CASCADE"
        ),
        _key("team_members", "organization_id", "team_id", "user_id"),
    )
    _index("team_members", "organization_id", "user_id")
    op.create_table(
        "invitations",
        _uuid("organization_id"),
        _id(),
        _text("email"),
        _text("role"),
        _bytes("digest"),
        sa.Column("by_mail", sa.Boolean(), nullable=False),
        _uuid("invited_by", nullable=True),
        _now(),
        _moment("expires_at", nullable=False),
        _moment("accepted_at"),
        _moment("revoked_at"),
        sa.CheckConstraint(ROLES, name=op.f("ck_invitations_role")),
        _of_organization("invitations"),
        _of_user("invitations", "invited_by", "SET NULL"),
        _key("invitations", "organization_id", "id"),
    )
    _index("invitations", "digest")
    op.create_table(
        "api_keys",
        _uuid("organization_id"),
        _id(),
        _text("name"),
        _text("prefix"),
        _bytes("digest"),
        sa.Column("permissions", sa.JSON(), nullable=False),
        _uuid("made_by", nullable=True),
        _now(),
        _moment("expires_at"),
        _moment("revoked_at"),
        _moment("last_used_at"),
        _of_organization("api_keys"),
        _of_user("api_keys", "made_by"),
        _key("api_keys", "organization_id", "id"),
    )
    _index("api_keys", "prefix")


def downgrade() -> None:
    """Take it back."""
    op.execute("DROP POLICY of_organization ON users")
    for table in (*reversed(TABLES_OF_ORGANIZATIONS), *reversed(TABLES), "users"):
        op.drop_table(table)
