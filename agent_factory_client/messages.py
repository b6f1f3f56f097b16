"""Messages that go out: who hears the events, and what became of each message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent_factory_client.schemas import (
    DeliveryList,
    DeliveryView,
    SubscriptionCreated,
    SubscriptionList,
    SubscriptionView,
)
from agent_factory_client.transport import Transport, path

PAGE = 100


class Subscriptions:
    """Addresses that hear the organisation's events."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> SubscriptionList:
        """Return the subscriptions."""
        return self._transport.json(SubscriptionList, "GET", path("/subscriptions"))

    def create(self, url: str, *, event_types: Sequence[str] = ()) -> SubscriptionCreated:
        """Have events sent to an address; the answer holds the signing secret, which is shown this once.

        :param event_types: Which; without any, all.
        """
        body = {"url": url, "event_types": [*event_types]}
        return self._transport.json(SubscriptionCreated, "POST", path("/subscriptions"), body=body)

    def show(self, subscription_id: str) -> SubscriptionView:
        """Return a subscription."""
        return self._transport.json(SubscriptionView, "GET", path("/subscriptions/{}", subscription_id))

    def pause(self, subscription_id: str) -> SubscriptionView:
        """Keep its messages until it is resumed."""
        return self._transport.json(SubscriptionView, "POST", path("/subscriptions/{}/pause", subscription_id))

    def resume(self, subscription_id: str) -> SubscriptionView:
        """Go on with what was kept."""
        return self._transport.json(SubscriptionView, "POST", path("/subscriptions/{}/resume", subscription_id))

    def remove(self, subscription_id: str) -> None:
        """End a subscription."""
        self._transport.send("DELETE", path("/subscriptions/{}", subscription_id))


class Deliveries:
    """Messages to subscribers and to callers of webhooks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self, *, status: str | None = None, before: str | None = None, limit: int | None = None) -> DeliveryList:
        """Return a page of messages, the newest first; ``next`` is the ``before`` of the page behind it."""
        query = {"status": status, "before": before, "limit": limit}
        return self._transport.json(DeliveryList, "GET", path("/deliveries"), query=query)

    def each(self, *, status: str | None = None) -> Iterator[DeliveryView]:
        """Yield the messages of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(status=status, before=before, limit=PAGE)
            yield from page["deliveries"]
            before = page["next"]
            if before is None:
                return

    def show(self, delivery_id: str) -> DeliveryView:
        """Return a message."""
        return self._transport.json(DeliveryView, "GET", path("/deliveries/{}", delivery_id))

    def redeliver(self, delivery_id: str) -> DeliveryView:
        """Have a message delivered again."""
        return self._transport.json(DeliveryView, "POST", path("/deliveries/{}/redeliver", delivery_id))
