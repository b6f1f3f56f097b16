"""People of a control plane and clients that act as them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from api.accounts.passwords import _hasher
from api.identity.permissions import Role, permissions_of
from api.sessions.repository import SessionRepository
from tests.api.control_plane import ControlPlane

PASSWORD = "correct horse battery"
HASH = _hasher.hash(PASSWORD)


class People:
    """Makes organisations, users and clients; the clients' bearer tokens are access tokens of real sessions."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane

    async def organization(self, slug: str = "default") -> UUID:
        """Return an organisation's id; make it if it is not there."""
        await self.sql("INSERT INTO organizations (slug, name) VALUES (:slug, :slug) ON CONFLICT DO NOTHING", slug=slug)
        found: UUID = await self.sql("SELECT id FROM organizations WHERE slug = :slug", slug=slug)
        return found

    async def user(self, email: str, role: str | None = None, slug: str = "default") -> UUID:
        """Return a user's id; make them with ``PASSWORD``, and a member where there is a role."""
        await self.sql(
            "INSERT INTO users (email, name, password_hash, platform_admin)"
            " VALUES (:email, 'Ann', :hash, :admin) ON CONFLICT DO NOTHING",
            email=email, hash=HASH, admin=role == "admin",
        )  # fmt: skip
        user_id: UUID = await self.sql("SELECT id FROM users WHERE email = :email", email=email)
        organization_id = await self.organization(slug)
        if role not in (None, "admin"):
            await self.sql(
                "INSERT INTO memberships (organization_id, user_id, role) VALUES (:org, :user, :role)",
                org=organization_id, user=user_id, role=role,
            )  # fmt: skip
        return user_id

    async def client(self, role: Role, slug: str = "default", email: str | None = None) -> httpx.AsyncClient:
        """Return a client that acts as a new user with a role."""
        user_id = await self.user(email or f"{role}@{slug}.test", role, slug)
        organization_id = await self.organization(slug)
        async with self.plane.database.system() as session:
            session_id = await SessionRepository(session).add(user_id, organization_id, "test", lifetime=600)
        token = await self.plane.app.state.keys.issue(
            user_id=user_id, organization_id=organization_id, role=role, session_id=session_id
        )
        return self.with_token(token)

    async def key(
        self, role: Role, permissions: Iterable[str] | None = None, slug: str = "default", email: str | None = None
    ) -> httpx.AsyncClient:
        """Return a client with an API key of a new user: for some permissions, or for all that the user has."""
        maker = await self.client(role, slug, email)
        body = {"name": "K", "permissions": sorted(permissions or permissions_of(role)), "expires_at": None}
        answer = await maker.post("/api/v1/api-keys", json=body)
        assert answer.status_code == 201, answer.text
        return self.with_token(answer.json()["key"])

    def with_token(self, token: str) -> httpx.AsyncClient:
        """Return a client with a bearer token."""
        return self.plane._client(token)

    async def log_in(self, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        """Log in."""
        body = {"email": email, "password": password} | more
        return await self.plane.public.post("/api/v1/auth/token", json=body)

    async def sql(self, statement: str, **values: Any) -> Any:
        """Execute a statement; return the first value of its first row, if it has rows."""
        async with self.plane.database.system() as session:
            result = await session.execute(text(statement), values)
            return result.scalar() if result.returns_rows else None
