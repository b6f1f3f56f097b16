"""``/api/v1/auth/password``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Request

from api.accounts.schemas import ForgottenPassword, PasswordChange, PasswordReset
from api.accounts.service import AccountService
from api.accounts.throttling import LINKS_OF_ACCOUNT, LINKS_OF_ADDRESS, Throttle
from api.auth import SettingsDep, UserDep, permit
from api.database import DatabaseDep
from api.edge import EdgeRoute
from api.gateway.admission import address_of
from api.mail.dependency import MailerDep

router = APIRouter(prefix="/api/v1/auth/password", tags=["identity"], route_class=EdgeRoute)


async def _service(database: DatabaseDep, settings: SettingsDep) -> AccountService:
    return AccountService(database, settings)


Service = Annotated[AccountService, Depends(_service)]


@router.put("", status_code=204, dependencies=[permit("account:own")])
async def change_password(body: PasswordChange, request: Request, caller: UserDep, service: Service) -> None:
    """Change the password; every other session ends."""
    await service.change_password(caller, body.current_password, body.new_password, address=address_of(request))


@router.post("/forgotten", status_code=202)
async def send_password_link(
    body: ForgottenPassword,
    request: Request,
    background: BackgroundTasks,
    database: DatabaseDep,
    service: Service,
    mailer: MailerDep,
) -> None:
    """Have a link sent by which the password can be set anew. The answer is the same for every address."""
    await Throttle(database).enter((LINKS_OF_ACCOUNT, body.email), (LINKS_OF_ADDRESS, address_of(request)))
    # After the answer, so that its time does not tell either.
    background.add_task(service.send_link, body.email, mailer)


@router.post("/reset", status_code=204)
async def reset_password(body: PasswordReset, request: Request, service: Service) -> None:
    """Set a new password by the token of a link; every session of the user ends."""
    await service.reset_password(body.token, body.new_password, address=address_of(request))
