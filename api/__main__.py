"""``python -m api``: serve the control plane."""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from api.app import create_app
from api.database import Database
from api.gateway.logs import configure
from api.gateway.server import server_options
from api.organizations.isolation import refuse_strangers
from api.settings import Settings, SettingsError, load_settings


async def _check(settings: Settings) -> None:
    """Compare the settings with the database while an error can still be one sentence.

    :raises SettingsError: They do not fit. A database that is away or not migrated yet is not looked at.
    """
    database = Database(settings)
    try:
        async with database.transaction() as session:
            await refuse_strangers(session, settings)
    except (SQLAlchemyError, OSError):
        return
    finally:
        await database.close()


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    try:
        settings = load_settings()
        configure(settings.log_format)
        asyncio.run(_check(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(create_app(settings), host=settings.api_host, port=settings.api_port, **server_options(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
