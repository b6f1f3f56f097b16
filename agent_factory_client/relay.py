"""The relay between acceptance and Airflow: its pauses, and what it gave up."""

from __future__ import annotations

from collections.abc import Iterator

from agent_factory_client.schemas import DeadLetterList, DeadLetterView, Redelivered, RelayState
from agent_factory_client.transport import Transport, path

PAGE = 200


class Relay:
    """The organisation's share of the relay."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def state(self) -> RelayState:
        """Return what waits and whether the organisation is paused."""
        return self._transport.json(RelayState, "GET", path("/relay"))

    def pause(self) -> RelayState:
        """Keep what starts workflows, and give Airflow nothing of the organisation until it is resumed."""
        return self._transport.json(RelayState, "POST", path("/relay/pause"))

    def resume(self) -> RelayState:
        """Go on with what was kept."""
        return self._transport.json(RelayState, "POST", path("/relay/resume"))


class DeadLetters:
    """Orders to Airflow that the relay gave up."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, workflow_id: str | None = None, before: int | None = None, limit: int | None = None
    ) -> DeadLetterList:
        """Return a page of dead letters, the newest first; ``next`` is the ``before`` of the page behind it."""
        query = {"workflow_id": workflow_id, "before": before, "limit": limit}
        return self._transport.json(DeadLetterList, "GET", path("/dead-letters"), query=query)

    def each(self, *, workflow_id: str | None = None) -> Iterator[DeadLetterView]:
        """Yield the dead letters of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(workflow_id=workflow_id, before=before, limit=PAGE)
            yield from page["dead_letters"]
            before = page["next"]
            if before is None:
                return

    def redeliver(self, letter_id: str) -> Redelivered:
        """Have a dead letter delivered again."""
        return self._transport.json(Redelivered, "POST", path("/dead-letters/{}/redeliver", letter_id))

    def redeliver_all(self, *, workflow_id: str | None = None) -> Redelivered:
        """Have all dead letters delivered again, or those of one workflow."""
        body = {"workflow_id": workflow_id}
        return self._transport.json(Redelivered, "POST", path("/dead-letters/redeliver"), body=body)
