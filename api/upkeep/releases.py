"""The job ``releases``: what no run can name any more goes."""

from __future__ import annotations

from api.releases.service import collect_releases
from api.upkeep.tools import Counts, Tools


async def remove_releases(tools: Tools) -> Counts:
    """Remove replaced files that no execution has the version of, and releases of which some are gone."""
    async with tools.database.system() as session:
        collected = await collect_releases(session)
    return {"releases": collected.releases, "files": collected.files, "artifacts": collected.artifacts}
