"""``python -m api``: serve the control plane."""

from __future__ import annotations

import asyncio
import logging
import sys

import uvicorn

from api.app import create_app
from api.settings import SettingsError, load_settings
from api.starting import check_database

GRACE_SECONDS = 5


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = load_settings()
        asyncio.run(check_database(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(
        create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
