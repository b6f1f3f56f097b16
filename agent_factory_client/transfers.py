"""Agents and organisations as zip files."""

from __future__ import annotations

from typing import Literal

from agent_factory_client.schemas import ImportReport
from agent_factory_client.transport import Transport, path


class Transfers:
    """Exports and imports of the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def export(self, *, versions: bool | None = None) -> bytes:
        """Return a zip of the whole organisation; of secret variables the names only.

        :param versions: Whether published versions are in it.
        """
        return self._transport.send("GET", path("/export"), query={"versions": _flag(versions)}).content

    def export_agent(self, agent_id: str, *, versions: bool | None = None) -> bytes:
        """Return a zip of one agent.

        :param versions: Whether its published versions are in it.
        """
        query = {"versions": _flag(versions)}
        return self._transport.send("GET", path("/agents/{}/export", agent_id), query=query).content

    def bring(
        self,
        archive: bytes,
        *,
        existing: Literal["refuse", "keep", "replace"] | None = None,
        dry_run: bool | None = None,
    ) -> ImportReport:
        """Import a zip, all or nothing: drafts, templates and variables; nothing is published.

        :param existing: What becomes of what is here already and differs.
        :param dry_run: Only say what would change.
        """
        headers = {"content-type": "application/octet-stream"}
        query = {"existing": existing, "dry_run": _flag(dry_run)}
        return self._transport.json(ImportReport, "POST", path("/import"), query=query, body=archive, headers=headers)


def _flag(value: bool | None) -> str | None:
    return None if value is None else str(value).lower()
