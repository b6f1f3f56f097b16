"""Making subscriptions, pausing and removing them."""

from __future__ import annotations

from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncSession

from api import notifications
from api.audit.trail import note
from api.deliveries.signing import new_secret, subscription_cipher
from api.models import WebhookSubscription
from api.problems import Problem, not_found
from api.settings import Settings
from api.subscriptions.repository import SubscriptionRepository
from api.subscriptions.schemas import SubscriptionCreate, SubscriptionCreated, SubscriptionList, SubscriptionView
from compiler.urls import UrlError, parse_url

MAX_SUBSCRIPTIONS = 50
"""Of an organisation: each event is written once for each of them."""


class SubscriptionService:
    """Subscriptions of one organisation."""

    def __init__(self, session: AsyncSession, organization_id: UUID, settings: Settings) -> None:
        self._session = session
        self._organization_id = organization_id
        self._settings = settings
        self._subscriptions = SubscriptionRepository(session, organization_id)

    async def create(self, body: SubscriptionCreate) -> SubscriptionCreated:
        """Make a subscription with a new signing secret.

        :raises Problem: 422 for a URL that cannot be called; 409 where there are too many, or the control plane has
            no key for secrets.
        """
        try:
            parse_url(body.url)
        except UrlError as error:
            raise Problem(422, "invalid_request", f"`url` must be one that can be called: {error}.") from None
        cipher = subscription_cipher(self._settings)
        await self._subscriptions.lock()
        if await self._subscriptions.count() >= MAX_SUBSCRIPTIONS:
            detail = f"An organisation may have at most {MAX_SUBSCRIPTIONS} subscriptions; remove one first."
            raise Problem(409, "too_many_subscriptions", detail)
        subscription_id, secret = uuid4(), new_secret()
        sealed = cipher.seal(secret.encode(), str(self._organization_id), str(subscription_id))
        await self._subscriptions.add(subscription_id, body.url, sorted(set(body.event_types)), sealed)
        shown = await self.show(subscription_id)
        note(resource=f"subscriptions/{subscription_id}", after=shown)
        return SubscriptionCreated(**shown.model_dump(), secret=secret)

    async def all(self) -> SubscriptionList:
        """Return all."""
        return SubscriptionList(subscriptions=[_view(row) for row in await self._subscriptions.all()])

    async def show(self, subscription_id: UUID) -> SubscriptionView:
        """Return a subscription.

        :raises Problem: 404.
        """
        row = await self._subscriptions.find(subscription_id)
        if row is None:
            raise not_found("subscription", subscription_id)
        return _view(row)

    async def pause(self, subscription_id: UUID, *, paused: bool) -> SubscriptionView:
        """Hold a subscription's messages back, or let them go.

        :raises Problem: 404.
        """
        await self._subscriptions.pause(subscription_id, paused=paused)
        if not paused:
            await notifications.notify(self._session, notifications.DELIVERIES)
        return await self.show(subscription_id)

    async def remove(self, subscription_id: UUID) -> None:
        """Remove a subscription with its messages.

        :raises Problem: 404.
        """
        note(before=await self.show(subscription_id))
        await self._subscriptions.remove(subscription_id)


def _view(row: WebhookSubscription) -> SubscriptionView:
    return SubscriptionView(
        id=row.id,
        url=row.url,
        event_types=row.event_types,
        paused=row.paused_at is not None,
        created_at=row.created_at,
    )
