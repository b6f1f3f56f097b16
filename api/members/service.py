"""Members: list, change their role, remove."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.audit.trail import note
from api.identity.callers import Caller
from api.identity.permissions import MemberRole, Role, permissions_of
from api.members.repository import MemberRepository
from api.members.schemas import MemberList, MemberView
from api.models import Membership, User
from api.organizations.repository import OrganizationRepository
from api.problems import Problem, not_found


def refuse_above(caller: Caller, role: Role) -> None:
    """Check that a role that somebody gives or takes may nothing that they may not: an API key has its maker's role,
    and often fewer permissions.

    :raises Problem: 403.
    """
    if not permissions_of(role) <= caller.permissions:
        whose = "this API key" if caller.via == "api_key" else f"your role, {caller.role!r}"
        detail = f"Nobody gives or takes a role that may more than they may; {role!r} may more than {whose}."
        raise Problem(403, "beyond_own_role", detail)


class MemberService:
    """Members of the caller's organisation. One owner stays."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._session = session
        self._caller = caller
        self._members = MemberRepository(session, caller.organization_id)

    async def list(self) -> MemberList:
        """Return the members."""
        return MemberList(members=[_view(row, user) for row, user in await self._members.list()])

    async def change(self, user_id: UUID, role: MemberRole) -> MemberView:
        """Change a member's role; it counts from their next request on.

        :raises Problem: 404; 403 where one of the roles may more than the caller; 409 for the last owner.
        """
        row, user = await self._look(user_id)
        refuse_above(self._caller, role)
        if role != "organization_owner":
            await self._keep_an_owner(row)
        note(before={"role": row.role}, after={"role": role})
        row.role = role
        await self._session.flush()
        return _view(row, user)

    async def remove(self, user_id: UUID) -> None:
        """Remove a member; their keys and sessions have no role here from then on.

        :raises Problem: 404; 403 where their role may more than the caller; 409 for the last owner.
        """
        row, _ = await self._look(user_id)
        await self._keep_an_owner(row)
        note(before={"role": row.role})
        await self._members.remove(user_id)

    async def _look(self, user_id: UUID) -> tuple[Membership, User]:
        # Two owners who remove each other at the same moment come here one after the other.
        await OrganizationRepository(self._session).lock(self._caller.organization_id)
        found = await self._members.find(user_id)
        if found is None:
            raise not_found("member", user_id)
        refuse_above(self._caller, cast(Role, found[0].role))
        return found

    async def _keep_an_owner(self, row: Membership) -> None:
        if row.role == "organization_owner" and not await self._members.other_owners(row.user_id):
            detail = "An organisation must have an owner, and this is the last one. Make another member owner first."
            raise Problem(409, "last_owner", detail)


def _view(row: Membership, user: User) -> MemberView:
    return MemberView(
        user_id=user.id,
        email=user.email,
        name=user.name,
        role=cast(MemberRole, row.role),
        joined_at=row.created_at,
    )
