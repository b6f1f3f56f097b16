"""Bring the database's tables to the newest shape: ``python -m api.migrate [REVISION]``. Safe to run twice, or twice
at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, ForeignKeyConstraint, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from api.settings import SettingsError, load_migration_settings

VERSION_TABLE = "agent_factory_migrations"
_INSUFFICIENT_PRIVILEGE = "42501"
_LOCK = 4_210_077_001  # any number, the same in every migrating process


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration for a connection."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def is_of_models(found: Any, *_: object) -> bool:
    """Tell Alembic what to compare with the models: not the references that PostgreSQL copies to each partition."""
    is_reference = isinstance(found, ForeignKeyConstraint)
    return not is_reference or not found.elements[0].target_fullname.startswith("partitions.")


def newest_revision() -> str:
    """Return the revision that this code needs."""
    head = ScriptDirectory.from_config(configuration()).get_current_head()
    assert head is not None
    return head


def migrate(url: URL, revision: str = "head") -> None:
    """Upgrade, or downgrade where ``revision`` is ``base`` or begins with ``-``.

    :raises sqlalchemy.exc.OperationalError: The database cannot be reached.
    """
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        down = revision == "base" or revision.startswith("-")
        (command.downgrade if down else command.upgrade)(configuration(connection), revision)


def main() -> int:
    """Migrate the database of the settings; return the exit code."""
    try:
        migrate(load_migration_settings().owner_url, *sys.argv[1:2])
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except OperationalError as error:
        print(f"The database cannot be reached: {str(error.orig).strip().splitlines()[0]}", file=sys.stderr)
        return 1
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        print(
            f"A migration needs the role that owns the tables, set AGENT_FACTORY_DATABASE_OWNER_URL, and the roles of "
            f"docs/tenancy.md; got: {str(error.orig).strip().splitlines()[0]}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
