"""Setting variables and showing them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Variable
from api.problems import Problem, not_found
from api.settings import Settings
from api.variables.repository import VariableRepository
from api.variables.schemas import VariableList, VariableSet, VariableView
from api.variables.secrets import SecretStore

MAX_VARIABLES = 1_000
"""Of an organisation, so that a list of them needs no pages."""
MAX_BYTES = 16_384
"""Of one value: each execution keeps a copy of what it reads."""


class VariableService:
    """Variables of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
        self._session = session
        self._organization_id = organization_id
        self._settings = settings
        self._variables = VariableRepository(session, organization_id)

    async def all(self, environment: str | None) -> VariableList:
        """Return the variables, of one environment or of all."""
        return VariableList(variables=[_view(row) for row in await self._variables.all(environment)])

    async def show(self, environment: str, name: str) -> VariableView:
        """Return a variable.

        :raises Problem: 404.
        """
        row = await self._variables.find(environment, name)
        if row is None:
            raise not_found("variable", name)
        return _view(row)

    async def set(self, environment: str, name: str, body: VariableSet) -> tuple[VariableView, bool]:
        """Set a variable; return it and whether it is new.

        :raises Problem: 422 for a value that cannot be stored; 409 where there are too many, where the control plane
            has no key for secrets, or where a secret would become readable.
        """
        value = _checked(body)
        await self._variables.lock()
        before = await self._variables.find(environment, name)
        if before is None and await self._variables.count() >= MAX_VARIABLES:
            detail = f"An organisation may have at most {MAX_VARIABLES} variables; remove one first."
            raise Problem(409, "too_many_variables", detail)
        if before is not None and before.secret and not body.secret:
            detail = f"The variable {name!r} is secret; set it with `secret`, or remove it first to make it readable."
            raise Problem(409, "is_secret", detail)
        if body.secret:
            store = SecretStore(self._session, self._settings)
            sealed = store.seal(self._organization_id, environment, name, value)
            await self._variables.set(environment, name, value=None, sealed=sealed)
        else:
            await self._variables.set(environment, name, value=value, sealed=None)
        return await self.show(environment, name), before is None

    async def remove(self, environment: str, name: str) -> None:
        """Remove a variable. Executions that have begun keep what they read.

        :raises Problem: 404.
        """
        if not await self._variables.remove(environment, name):
            raise not_found("variable", name)


def _checked(body: VariableSet) -> Any:
    """Return the value.

    :raises Problem: 422; it does not repeat the value.
    """
    if body.secret and not (isinstance(body.value, str) and body.value):
        raise Problem(422, "invalid_request", "`value` of a secret variable must be a text that is not empty.")
    size = len(orjson.dumps(body.value))
    if size > MAX_BYTES:
        detail = f"`value` must have at most {MAX_BYTES} bytes as JSON; got {size}."
        raise Problem(422, "invalid_request", detail)
    return body.value


def _view(row: Variable) -> VariableView:
    return VariableView(
        name=row.name,
        environment=row.environment,
        secret=row.secret,
        value=None if row.secret else row.value,
        updated_at=row.updated_at,
    )
