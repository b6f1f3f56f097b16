"""``python -m api.relay``: a relay in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from prometheus_client import start_http_server

from api.database import Database
from api.deliveries.sending import deliver
from api.gateway.logs import configure
from api.metrics.registry import REGISTRY
from api.notifications import Listener
from api.relay.airflow import AirflowClient
from api.relay.relay import Relay
from api.settings import Settings, SettingsError, load_settings
from api.starting import check_database
from operators.egress import EgressClient
from operators.settings import egress_policy


async def serve(settings: Settings) -> None:
    """Relay until SIGTERM or Ctrl-C."""
    database, listener, airflow = Database(settings), Listener(settings.async_url), AirflowClient(settings)
    egress = EgressClient(egress_policy())
    await listener.start()
    task = asyncio.create_task(Relay(settings, database, listener, airflow).run())
    sender = asyncio.create_task(deliver(settings, database, listener, egress))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await egress.close()
        await listener.stop()
        await airflow.close()
        await database.close()


def main() -> int:
    """Run a relay; return the exit code."""
    try:
        settings = load_settings()
        asyncio.run(check_database(settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    configure(settings.log_format)
    if settings.relay_metrics_port is not None:
        # Nobody but this machine: what asks has no token here.
        start_http_server(settings.relay_metrics_port, "127.0.0.1", REGISTRY)
    asyncio.run(serve(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
