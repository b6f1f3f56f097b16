"""What callers send about their accounts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from api.accounts.emails import Email
from api.accounts.passwords import GivenPassword, NewPassword
from api.accounts.secrets import GivenToken


class PasswordChange(BaseModel):
    """A new password in place of the current one."""

    model_config = ConfigDict(extra="forbid")

    current_password: GivenPassword
    new_password: NewPassword


class ForgottenPassword(BaseModel):
    """Whose password is to be set anew."""

    model_config = ConfigDict(extra="forbid")

    email: Email


class PasswordReset(BaseModel):
    """A new password by the token of a link."""

    model_config = ConfigDict(extra="forbid")

    token: GivenToken
    new_password: NewPassword
