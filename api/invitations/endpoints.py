"""``/api/v1/invitations``, and accepting one."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Depends, Request

from api.auth import CallerDep, SettingsDep, permit
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.gateway.admission import address_of
from api.invitations.schemas import InvitationAccept, InvitationCreate, InvitationList, InvitationView
from api.invitations.service import InvitationService, accept_invitation, limit_mails
from api.mail.dependency import MailerDep
from api.tenancy import Transaction

router = APIRouter(prefix="/api/v1", tags=["identity"], route_class=EdgeRoute)


async def _service(session: Transaction, caller: CallerDep, settings: SettingsDep) -> InvitationService:
    return InvitationService(session, caller, settings)


Service = Annotated[InvitationService, Depends(_service)]


@router.post("/invitations", status_code=201, dependencies=[permit("user:invite")])
async def invite(
    body: InvitationCreate,
    background: BackgroundTasks,
    caller: CallerDep,
    database: DatabaseDep,
    service: Service,
    mailer: MailerDep,
) -> InvitationView:
    """Invite somebody by mail, in a role not above the own.

    The link is in the mail only: who invites must not be able to accept for the other. Without a mail server the
    operator prints it.
    """
    if mailer.delivers:
        await limit_mails(database, body.email)
    view, link = await service.invite(body.email, body.role, by_mail=mailer.delivers)
    text = (
        f"You are invited to the organisation {caller.organization!r} of Agent Factory.\n\n"
        f"{link.get_secret_value()}\n\n"
        "The link works once, for a week.\n"
    )
    background.add_task(mailer.send, body.email, "Invitation to Agent Factory", text)
    return view


@router.get("/invitations", dependencies=[permit("user:read")])
async def list_invitations(service: Service) -> InvitationList:
    """Return the invitations to the organisation."""
    return await service.list()


@router.delete("/invitations/{invitation_id}", status_code=204, dependencies=[permit("user:invite")])
async def revoke_invitation(invitation_id: UUID, service: Service) -> None:
    """Revoke an invitation."""
    await service.revoke(invitation_id)


@router.post("/auth/invitations/accept", status_code=204)
async def accept(body: InvitationAccept, request: Request, database: DatabaseDep) -> None:
    """Become a member by the token of an invitation."""
    await accept_invitation(database, body, address=address_of(request))
