"""SQL of variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from api.models import Variable


@dataclass(frozen=True)
class Snapshot:
    """What an execution keeps of its variables.

    :param values: Of those that it may read; what is not set is left out.
    :param secret: Names of those that it may not.
    """

    values: dict[str, Any]
    secret: list[str]


# Webhooks ask it for each request: put together once, and of the table, not the class.
_variable = cast(Table, Variable.__table__).c
_SEALED = select(_variable.sealed).where(
    _variable.organization_id == bindparam("organization"),
    _variable.environment == bindparam("environment"),
    _variable.name == bindparam("name"),
)


class VariableRepository:
    """Variables of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID) -> None:
        self._session = session
        self._organization_id = organization_id

    async def snapshot(self, names: tuple[str, ...], environment: str) -> Snapshot:
        """Return the named variables of an environment; of secret ones the names only."""
        if not names:
            return Snapshot({}, [])
        query = select(Variable.name, Variable.secret, Variable.value).where(
            Variable.organization_id == self._organization_id,
            Variable.environment == environment,
            Variable.name.in_(names),
        )
        rows = (await self._session.execute(query.order_by(Variable.name))).all()
        return Snapshot(
            {row.name: row.value for row in rows if not row.secret}, [row.name for row in rows if row.secret]
        )

    async def sealed(self, environment: str, name: str) -> bytes | None:
        """Return a secret variable as it is stored; None where there is none, or it is not secret."""
        values = {"organization": self._organization_id, "environment": environment, "name": name}
        return await self._session.scalar(_SEALED, values)

    async def all_sealed(self) -> Sequence[tuple[str, str, bytes]]:
        """Return environment, name and stored value of the secret variables."""
        query = select(Variable.environment, Variable.name, Variable.sealed).where(
            Variable.organization_id == self._organization_id, Variable.sealed.is_not(None)
        )
        return [(row.environment, row.name, row.sealed) for row in await self._session.execute(query) if row.sealed]

    async def find(self, environment: str, name: str) -> Variable | None:
        """Return a variable."""
        return await self._session.scalar(
            select(Variable)
            .where(
                Variable.organization_id == self._organization_id,
                Variable.environment == environment,
                Variable.name == name,
            )
            .execution_options(populate_existing=True)
        )

    async def all(self, environment: str | None) -> Sequence[Variable]:
        """Return the variables, of one environment or of all."""
        query = select(Variable).where(Variable.organization_id == self._organization_id)
        if environment is not None:
            query = query.where(Variable.environment == environment)
        return (await self._session.scalars(query.order_by(Variable.environment, Variable.name))).all()

    async def lock(self) -> None:
        """Let one change of the organisation's variables at a time through, until the transaction ends."""
        name = f"{self._organization_id}:variables"
        await self._session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 2))))

    async def count(self) -> int:
        """Return how many there are."""
        query = select(func.count()).where(Variable.organization_id == self._organization_id)
        return await self._session.scalar(query) or 0

    async def set(self, environment: str, name: str, *, value: Any, sealed: bytes | None) -> None:
        """Store a variable, in place of the one that is there.

        :param sealed: The encrypted value of a secret one.
        """
        statement = insert(Variable).values(
            organization_id=self._organization_id,
            environment=environment,
            name=name,
            secret=sealed is not None,
            value=value,
            sealed=sealed,
            updated_at=func.clock_timestamp(),
        )
        columns = ("secret", "value", "sealed", "updated_at")
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["organization_id", "environment", "name"],
                set_={column: statement.excluded[column] for column in columns},
            )
        )

    async def remove(self, environment: str, name: str) -> bool:
        """Remove a variable; False if there is none."""
        removed = await self._session.execute(
            delete(Variable)
            .where(
                Variable.organization_id == self._organization_id,
                Variable.environment == environment,
                Variable.name == name,
            )
            .returning(Variable.name)
        )
        return removed.first() is not None
