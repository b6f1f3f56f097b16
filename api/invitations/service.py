"""Invitations: by address, with a token that works once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal, cast
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.passwords import MIN_LENGTH, hash_password, verify_password
from api.accounts.repository import UserRepository
from api.accounts.secrets import digest_of, new_token
from api.accounts.service import link_to
from api.accounts.throttling import LINKS_OF_ACCOUNT, LOGINS_OF_ACCOUNT, LOGINS_OF_ADDRESS, Throttle
from api.audit.trail import note, record
from api.database import Database
from api.identity.callers import Caller
from api.identity.permissions import MemberRole, Role, is_above, permissions_of
from api.identity.repository import current_role
from api.invitations.repository import InvitationRepository, find_open
from api.invitations.schemas import InvitationAccept, InvitationList, InvitationView
from api.members.repository import MemberRepository
from api.members.service import refuse_above
from api.models import Invitation
from api.problems import Problem, not_found
from api.settings import Settings

INVITATION_SECONDS = 7 * 86_400


class InvitationService:
    """Invitations to the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._caller = caller
        self._settings = settings
        self._members = MemberRepository(session, caller.organization_id)
        self._invitations = InvitationRepository(session, caller.organization_id)

    async def invite(self, email: str, role: MemberRole, *, by_mail: bool) -> tuple[InvitationView, SecretStr]:
        """Invite an address; return the invitation and the link to accept it. Whether the address has an account is not
        told, and an open invitation of before is void.

        :raises Problem: 403 where the role may more than the caller; 409 where it is a member's.
        """
        refuse_above(self._caller, role)
        if await self._members.is_member(email):
            raise Problem(409, "already_member", f"`email` must not be a member's; {email!r} is one.")
        token = new_token("afi")
        row = await self._invitations.add(
            email,
            role,
            digest_of(token),
            by_mail=by_mail,
            invited_by=self._caller.user_id,
            lifetime=INVITATION_SECONDS,
        )
        view = _view(row)
        note(resource=f"invitations/{row.id}", after=view)
        return view, link_to(self._settings, "accept-invitation", token)

    async def list(self) -> InvitationList:
        """Return the invitations."""
        return InvitationList(invitations=[_view(row) for row in await self._invitations.list()])

    async def revoke(self, invitation_id: UUID) -> None:
        """Revoke an invitation.

        :raises Problem: 404 where there is none, or it was accepted.
        """
        if not await self._invitations.revoke(invitation_id):
            raise not_found("invitation", invitation_id)


async def limit_mails(database: Database, email: str) -> None:
    """Count a mail to an address, whoever has it sent.

    :raises Problem: 429.
    """
    await Throttle(database).enter((LINKS_OF_ACCOUNT, email))


async def accept_invitation(database: Database, order: InvitationAccept, *, address: str) -> None:
    """Make the invited a member. Who has an account shows its password, so that a link that went astray makes nobody
    else of it.

    :raises Problem: 400 for a token that is not open; 401 for a wrong password; 422 where a new password is too short;
        429 after too many tries.
    """
    digest = digest_of(order.token)
    async with database.system() as session:
        invitation = await find_open(session, digest)
        user = await UserRepository(session).find(invitation.email) if invitation else None
    place = (LOGINS_OF_ADDRESS, address)
    if invitation is None:
        await Throttle(database).enter(place)
        raise _invalid()
    if user is not None:
        account = (LOGINS_OF_ACCOUNT, user.email)
        await Throttle(database).enter(account, place)
        if user.disabled_at is not None or not await verify_password(user.password_hash, order.password):
            detail = "The invited address has an account; `password` must be its password, and is not."
            raise Problem(401, "wrong_login", detail, headers={"www-authenticate": "Bearer"})
        await Throttle(database).succeed(account, place)
    elif len(order.password.get_secret_value()) < MIN_LENGTH:
        raise Problem(422, "invalid_request", f"`password` must have at least {MIN_LENGTH} characters.")
    password_hash = await hash_password(order.password) if user is None else None
    async with database.system() as session:
        await _join(session, digest, order.name, password_hash)


async def _join(session: AsyncSession, digest: bytes, name: str, password_hash: str | None) -> None:
    users = UserRepository(session)
    invitation = await find_open(session, digest, lock=True)
    if invitation is None or not await still_stands(session, invitation):
        raise _invalid()
    if password_hash is not None:
        user = await users.add(invitation.email, name, password_hash, verified=invitation.by_mail)
        if user is None:
            raise Problem(409, "try_again", "The address got an account meanwhile; try again with its password.")
    else:
        user = await users.find(invitation.email)
        assert user is not None
        user.verified = user.verified or invitation.by_mail
    await users.add_member(invitation.organization_id, user.id, invitation.role)
    invitation.accepted_at = datetime.now(UTC)
    await record(
        session,
        "invitation.accept",
        f"invitations/{invitation.id}",
        organization_id=invitation.organization_id,
        user_id=user.id,
        after={"role": invitation.role},
    )


async def still_stands(session: AsyncSession, invitation: Invitation) -> bool:
    """Tell whether the inviter could invite in this role today; what the operator invited stands."""
    if invitation.invited_by is None:
        return True
    user = await UserRepository(session).get(invitation.invited_by)
    found = await MemberRepository(session, invitation.organization_id).find(invitation.invited_by)
    role = current_role(user, found[0].role if found else None)
    if role is None or "user:invite" not in permissions_of(role):
        return False
    return not is_above(cast(Role, invitation.role), role)


def _invalid() -> Problem:
    return Problem(400, "invalid_link", "The invitation is not open (any more); ask for a new one.")


def _status(row: Invitation) -> Literal["open", "accepted", "revoked", "expired"]:
    if row.accepted_at is not None:
        return "accepted"
    if row.revoked_at is not None:
        return "revoked"
    return "open" if row.expires_at > datetime.now(UTC) else "expired"


def _view(row: Invitation) -> InvitationView:
    return InvitationView(
        id=row.id,
        email=row.email,
        role=cast(MemberRole, row.role),
        status=_status(row),
        sent=row.by_mail,
        invited_by=row.invited_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )
