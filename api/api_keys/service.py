"""API keys: made once, never above their maker."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.api_keys.format import make_key, parse_key
from api.api_keys.repository import ApiKeyRepository
from api.api_keys.schemas import ApiKeyCreate, ApiKeyList, ApiKeyMade, ApiKeyView
from api.identity.callers import Caller
from api.identity.permissions import expand
from api.models import ApiKey
from api.problems import Problem, not_found


class ApiKeyService:
    """API keys of the caller's organisation: the caller's own, or with ``api_key:manage`` everybody's."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._keys = ApiKeyRepository(session, caller.organization_id)
        self._caller = caller
        self._everybodys = "api_key:manage" in caller.permissions

    async def make(self, order: ApiKeyCreate) -> ApiKeyMade:
        """Make a key.

        :raises Problem: 403 where an API key asks, or one asks for more than they may; 422 where it would be over at
            once.
        """
        if self._caller.via == "api_key":
            # A key that leaked could otherwise make others, which outlive it.
            raise Problem(403, "login_needed", "An API key cannot make API keys. Log in and make it yourself.")
        beyond = sorted(expand(order.permissions) - self._caller.permissions)
        if beyond:
            detail = f"A key may do no more than its maker; {beyond[0]!r} is beyond the role {self._caller.role!r}."
            raise Problem(403, "beyond_own_role", detail, permissions=beyond)
        if order.expires_at is not None and order.expires_at <= datetime.now(UTC):
            raise Problem(422, "invalid_request", "`expires_at` must be in the future; got a time that has passed.")
        key = make_key()
        parts = parse_key(key.get_secret_value())
        assert parts is not None
        row = await self._keys.add(
            order.name, parts, order.permissions, made_by=self._caller.user_id, expires_at=order.expires_at
        )
        return ApiKeyMade(**_view(row).model_dump(), key=key.get_secret_value())

    async def list(self) -> ApiKeyList:
        """Return the keys that the caller may see."""
        rows = await self._keys.list(made_by=self._caller.user_id, everybodys=self._everybodys)
        return ApiKeyList(api_keys=[_view(row) for row in rows])

    async def revoke(self, key_id: UUID) -> None:
        """Revoke a key.

        :raises Problem: 404.
        """
        if not await self._keys.revoke(key_id, made_by=self._caller.user_id, everybodys=self._everybodys):
            raise not_found("API key", key_id)


def _view(row: ApiKey) -> ApiKeyView:
    return ApiKeyView(**{name: getattr(row, name) for name in ApiKeyView.model_fields})
