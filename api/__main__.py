"""``python -m api``: serve the control plane."""

from __future__ import annotations

import asyncio
import sys

import uvicorn

from api.app import create_app
from api.gateway.logs import configure
from api.gateway.server import server_options
from api.settings import SettingsError, load_settings
from api.starting import check_database


def main() -> int:
    """Serve until SIGTERM or Ctrl-C; return the exit code."""
    try:
        settings = load_settings()
        configure(settings.log_format)
        asyncio.run(check_database(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    uvicorn.run(create_app(settings), host=settings.api_host, port=settings.api_port, **server_options(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
