"""Log in, refresh, switch, log out."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.passwords import hash_password, needs_rehash, verify_password
from api.accounts.repository import UserRepository
from api.accounts.secrets import digest_of, new_token
from api.accounts.throttling import LOGINS_OF_ACCOUNT, LOGINS_OF_ADDRESS, TOKENS_OF_ADDRESS, Throttle
from api.database import Database
from api.identity.callers import Caller
from api.identity.permissions import Role
from api.identity.repository import current_role
from api.models import Organization, User
from api.organizations.repository import OrganizationRepository
from api.problems import Problem, not_found
from api.sessions.repository import SessionRepository
from api.sessions.schemas import AccessToken, OrganizationRole, SessionList, SessionView, TokenAnswer
from api.signing.keys import KeyRing
from api.signing.tokens import LIFETIME_SECONDS

log = logging.getLogger(__name__)

REFRESH_SECONDS = 14 * 86_400
"""How long a refresh token lasts; with each use comes a new one."""
SESSION_SECONDS = 90 * 86_400
"""How long a session lasts at most."""


@dataclass(frozen=True)
class Acting:
    """A user, an organisation and the user's role in it."""

    user_id: UUID
    organization_id: UUID
    organization: str
    role: Role


def wrong_login() -> Problem:
    """Return the one answer to every login that fails: it does not tell which addresses have an account."""
    return Problem(401, "wrong_login", "E-mail address or password is wrong.", headers={"www-authenticate": "Bearer"})


def _wrong_token() -> Problem:
    detail = "The refresh token is not valid (any more); log in again."
    return Problem(401, "invalid_refresh_token", detail, headers={"www-authenticate": "Bearer"})


class SessionService:
    """Sessions. What must stay although the answer is a refusal is in a transaction of its own."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
        self._throttle = Throttle(database)

    async def log_in(
        self, email: str, password: SecretStr, slug: str | None, *, address: str, client: str
    ) -> TokenAnswer:
        """Begin a session.

        :raises Problem: 401 where address and password do not belong together; 403 where they do, but the user has no
            such organisation; 429 after too many tries.
        """
        account, caller = (LOGINS_OF_ACCOUNT, email), (LOGINS_OF_ADDRESS, address)
        await self._throttle.enter(account, caller)
        async with self._database.system() as session:
            user = await UserRepository(session).find(email)
        stored = user.password_hash if user is not None else None
        is_right = await verify_password(stored, password)
        if not is_right or user is None or stored is None or user.disabled_at is not None:
            raise wrong_login()
        await self._throttle.succeed(account, caller)
        new_hash = await hash_password(password) if needs_rehash(stored) else None
        async with self._database.system() as session:
            if new_hash is not None and (row := await UserRepository(session).get(user.id)) is not None:
                row.password_hash = new_hash
            acting = await _choose(session, user, slug)
            sessions = SessionRepository(session)
            session_id = await sessions.add(user.id, acting.organization_id, client, lifetime=SESSION_SECONDS)
            refresh_token = await _add_token(sessions, session_id)
        return await self._answer(acting, session_id, refresh_token)

    async def refresh(self, token: SecretStr, *, address: str) -> TokenAnswer:
        """Give the next tokens of a session for a refresh token, which is used up.

        One that was used before has been stolen, now or then: its session is revoked.

        :raises Problem: 401; 429 after too many wrong ones.
        """
        digest = digest_of(token)
        acting, session_id, refresh_token = None, None, None
        async with self._database.system() as session:
            sessions = SessionRepository(session)
            found = await sessions.lock_token(digest)
            row = await sessions.lasting(found.session_id) if found else None
            if found is not None and row is not None and found.used_at is not None:
                log.warning("a refresh token of session %s was used again: the session is revoked", row.id)
                await sessions.revoke(row.user_id, row.id)
            elif found is not None and row is not None:
                acting = await _acting(session, row.user_id, row.acting_organization_id)
                if acting is not None:
                    await sessions.use_token(found)
                    session_id, refresh_token = row.id, await _add_token(sessions, row.id)
        if acting is None or session_id is None or refresh_token is None:
            await self._throttle.enter((TOKENS_OF_ADDRESS, address))
            raise _wrong_token()
        return await self._answer(acting, session_id, refresh_token)

    async def switch(self, caller: Caller, slug: str) -> AccessToken:
        """Have a session act for another organisation of the user; access tokens of before are void.

        :raises Problem: 404.
        """
        assert caller.user_id is not None
        assert caller.session_id is not None
        async with self._database.system() as session:
            organization_id = await OrganizationRepository(session).find(slug)
            acting = await _acting(session, caller.user_id, organization_id) if organization_id else None
            if acting is None:
                raise not_found("organisation", slug)
            await SessionRepository(session).switch(caller.session_id, acting.organization_id)
        return await self._access(acting, caller.session_id)

    async def sessions(self, caller: Caller) -> SessionList:
        """Return the caller's sessions."""
        assert caller.user_id is not None
        async with self._database.system() as session:
            rows = await SessionRepository(session).of_user(caller.user_id)
        views = [
            SessionView(
                id=row.id, organization=slug, client=row.client, created_at=row.created_at, used_at=row.used_at,
                expires_at=row.expires_at, current=row.id == caller.session_id,
            )
            for row, slug in rows
        ]  # fmt: skip
        return SessionList(sessions=views)

    async def revoke(self, caller: Caller, session_id: UUID | None) -> None:
        """Revoke one of the caller's sessions, or all of them.

        :raises Problem: 404.
        """
        assert caller.user_id is not None
        async with self._database.system() as session:
            revoked = await SessionRepository(session).revoke(caller.user_id, session_id)
        if session_id is not None and not revoked:
            raise not_found("session", session_id)

    async def profile(self, caller: Caller) -> tuple[str | None, list[OrganizationRole]]:
        """Return the caller's name and organisations."""
        if caller.user_id is None:
            return None, []
        async with self._database.system() as session:
            users = UserRepository(session)
            user = await users.get(caller.user_id)
            organizations = await users.organizations(caller.user_id)
        mine = [
            OrganizationRole(slug=row.slug, name=row.name, role=role)
            for row, member_role in organizations
            if (role := current_role(user, member_role)) is not None
        ]
        return user.name if user else None, mine

    async def _answer(self, acting: Acting, session_id: UUID, refresh_token: SecretStr) -> TokenAnswer:
        access = await self._access(acting, session_id)
        return TokenAnswer(**access.model_dump(), refresh_token=refresh_token.get_secret_value())

    async def _access(self, acting: Acting, session_id: UUID) -> AccessToken:
        token = await self._keys.issue(
            user_id=acting.user_id, organization_id=acting.organization_id, role=acting.role, session_id=session_id
        )
        return AccessToken(
            access_token=token, expires_in=LIFETIME_SECONDS, organization=acting.organization, role=acting.role
        )


async def _add_token(sessions: SessionRepository, session_id: UUID) -> SecretStr:
    token = new_token("aft")
    await sessions.add_token(session_id, digest_of(token), lifetime=REFRESH_SECONDS)
    return token


async def _choose(session: AsyncSession, user: User, slug: str | None) -> Acting:
    """Return the organisation to begin with.

    :raises Problem: 403.
    """
    if slug is not None:
        organization_id = await OrganizationRepository(session).find(slug)
        acting = await _acting(session, user.id, organization_id) if organization_id else None
    else:
        mine = await UserRepository(session).organizations(user.id)
        first = mine[0][0] if mine else await _first(session) if user.platform_admin else None
        acting = await _acting(session, user.id, first.id) if first else None
    if acting is None:
        which = f"the organisation {slug!r}" if slug else "any organisation"
        detail = f"You are no member of {which}; ask one of its owners for an invitation."
        raise Problem(403, "no_membership", detail)
    return acting


async def _first(session: AsyncSession) -> Organization | None:
    return await OrganizationRepository(session).oldest()


async def _acting(session: AsyncSession, user_id: UUID, organization_id: UUID) -> Acting | None:
    """Return a user in an organisation; None where they have no role in it (any more)."""
    users = UserRepository(session)
    user = await users.get(user_id)
    organization = await OrganizationRepository(session).get(organization_id)
    roles = {row.id: role for row, role in await users.organizations(user_id)}
    role = current_role(user, roles.get(organization_id))
    if role is None or organization is None:
        return None
    return Acting(user_id, organization_id, organization.slug, role)
