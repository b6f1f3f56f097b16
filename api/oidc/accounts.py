"""Whose account a login by a provider is: nobody becomes somebody else by an address that the provider only claims."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from api.accounts.emails import Email
from api.accounts.repository import UserRepository
from api.audit.trail import record
from api.invitations.service import still_stands
from api.models import User
from api.oidc.repository import IdentityRepository
from api.oidc.settings import OidcProvider
from api.oidc.tokens import IdClaims
from api.organizations.repository import OrganizationRepository
from api.problems import Problem

_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
LONGEST_NAME = 100


class AccountFinder:
    """Finds or makes the account of one login, in one transaction."""

    def __init__(self, session: AsyncSession, provider: OidcProvider) -> None:
        self._session = session
        self._provider = provider
        self._identities = IdentityRepository(session)
        self._users = UserRepository(session)

    async def account_of(self, claims: IdClaims) -> User:
        """Return the account of who logged in.

        Once a provider's subject has an account, its address means nothing any more: it may change hands.

        :raises Problem: 403 where no account may be given, with the reason.
        """
        user = await self._identities.find(claims.iss, claims.sub)
        if user is None:
            user = await self._meet(claims)
        if user.disabled_at is not None:
            raise _disabled()
        return user

    async def _meet(self, claims: IdClaims) -> User:
        """Return the account of somebody whom we see for the first time."""
        email = self._verified_email(claims)
        user = await self._users.find(email)
        if user is None:
            user = await self._make(email, claims)
        else:
            self._refuse_takeover(user)
            await self._join(user, email)
        if not await self._identities.link(claims.iss, claims.sub, user.id):
            raise Problem(409, "try_again", "The account was made meanwhile by another login; log in again.")
        return user

    async def _make(self, email: str, claims: IdClaims) -> User:
        name = " ".join((claims.name or "").split())[:LONGEST_NAME] or email.partition("@")[0]
        user = await self._identities.add_user(email, name if name.isprintable() else email.partition("@")[0])
        if user is None:
            raise Problem(409, "try_again", "The address got an account meanwhile; log in again.")
        if not await self._join(user, email):
            # The account goes with the transaction.
            detail = f"Nobody invited {email}; ask an owner of an organisation for an invitation."
            raise Problem(403, "no_membership", detail)
        return user

    def _verified_email(self, claims: IdClaims) -> str:
        try:
            email = _EMAIL.validate_python(claims.email)
        except ValidationError:
            detail = "The provider must tell your e-mail address at the first login; it told none. Ask for the scope."
            raise Problem(403, "email_missing", detail) from None
        if not (claims.is_email_verified or self._provider.trusts_email):
            detail = "The provider must have verified your e-mail address; it says that it has not. Verify it there."
            raise Problem(403, "email_not_verified", detail)
        return email

    def _refuse_takeover(self, user: User) -> None:
        """Check that the account of an address is its holder's.

        Whoever made it without showing that the address is theirs would else wait in it for its holder.

        :raises Problem: 403.
        """
        if user.disabled_at is not None:
            raise _disabled()
        if not (self._provider.links_by_email and user.verified):
            detail = (
                "There is an account with this e-mail address, and this provider may not log in to it. Log in by "
                "password, or ask the operator to let this provider link accounts; the address of the account must "
                "have been verified by a link in a mail."
            )
            raise Problem(403, "account_exists", detail)

    async def _join(self, user: User, email: str) -> bool:
        """Accept what the address was invited to, and what the operator says of its domain; tell if there was any."""
        joined = False
        for invitation in await self._identities.open_invitations(email):
            if await still_stands(self._session, invitation):
                invitation.accepted_at = datetime.now(UTC)
                joined |= await self._users.add_member(invitation.organization_id, user.id, invitation.role)
                await record(
                    self._session,
                    "invitation.accept",
                    f"invitations/{invitation.id}",
                    organization_id=invitation.organization_id,
                    user_id=user.id,
                    after={"role": invitation.role},
                )
        rule = self._provider.domains.get(email.rpartition("@")[2])
        organization_id = await OrganizationRepository(self._session).find(rule.organization) if rule else None
        if rule and organization_id and await self._users.add_member(organization_id, user.id, rule.role):
            joined = True
            await record(
                self._session,
                "member.join",
                f"members/{user.id}",
                organization_id=organization_id,
                user_id=user.id,
                after={"role": rule.role},
            )
        return joined


def _disabled() -> Problem:
    return Problem(403, "account_disabled", "This account is disabled; ask the operator.")
