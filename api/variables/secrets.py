"""The values of secret variables, for the credential path only: no endpoint, log or expression sees one."""

from __future__ import annotations

import contextlib
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession

from api.encryption import Cipher, UnsealError
from api.problems import Problem
from api.settings import Settings
from api.variables.repository import VariableRepository
from api.variables.schemas import DEFAULT_ENVIRONMENT


class SecretStore:
    """Seals and reads secret variables.

    :raises Problem: 409, where the control plane has no key.
    """

    def __init__(self, session: AsyncSession, settings: Settings) -> None:
        if settings.secret_key is None:
            detail = "Secret variables need a key, and this control plane has none; set AGENT_FACTORY_SECRET_KEY."
            raise Problem(409, "not_possible_here", detail)
        self._session = session
        self._cipher = Cipher(settings.secret_key, "secret variables")

    def seal(self, organization_id: UUID, environment: str, name: str, value: str) -> bytes:
        """Return what is stored of a secret."""
        return self._cipher.seal(value.encode(), str(organization_id), environment, name)

    async def read(self, organization_id: UUID, name: str, environment: str = DEFAULT_ENVIRONMENT) -> SecretStr | None:
        """Return the value of a secret variable; None where there is none of this name, or it is not secret.

        :raises UnsealError: It was sealed with another key or for another place.
        """
        sealed = await VariableRepository(self._session, organization_id).sealed(environment, name)
        if sealed is None:
            return None
        return SecretStr(self._cipher.open(sealed, str(organization_id), environment, name).decode())

    async def all(self, organization_id: UUID) -> list[SecretStr]:
        """Return the values of all secret variables; without those that were sealed with another key."""
        found = []
        for environment, name, sealed in await VariableRepository(self._session, organization_id).all_sealed():
            with contextlib.suppress(UnsealError):
                found.append(SecretStr(self._cipher.open(sealed, str(organization_id), environment, name).decode()))
        return found
