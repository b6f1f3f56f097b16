"""The mailer as a dependency of endpoints."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from api.mail.mailer import Mailer


async def get_mailer(request: Request) -> Mailer:
    """Return the application's mailer."""
    return cast(Mailer, request.app.state.mailer)


MailerDep = Annotated[Mailer, Depends(get_mailer)]
