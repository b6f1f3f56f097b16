"""Going back to an earlier shape of the tables, whatever migrations come after it."""

from __future__ import annotations

import itertools

from alembic.script import ScriptDirectory
from sqlalchemy.engine import URL

from api.migrate import configuration, migrate


def go_back_to(url: URL, revision: str) -> None:
    """Take back every migration after one, as the owner of the tables."""
    revisions = ScriptDirectory.from_config(configuration()).walk_revisions()
    later = len(list(itertools.takewhile(lambda each: each.revision != revision, revisions)))
    if later:
        migrate(url, f"-{later}")


def go_back_before(url: URL, revision: str) -> None:
    """Take back a migration, and every one after it."""
    go_back_to(url, revision)
    migrate(url, "-1")
