"""Libraries that log requests, bodies at debug level included: tenant text, which no Airflow log may hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable

STEP_LOGGERS = ("anthropic", "asyncio", "httpcore", "httpx", "httpx2", "openai", "pydantic_ai")
"""What light steps call others with."""
CLUSTER_LOGGERS = ("kubernetes", "kubernetes_asyncio", "urllib3", "websocket")
"""What the API server of a cluster is called with: its answers hold the output of containers."""


def quieten(loggers: Iterable[str]) -> None:
    """Have this process log nothing of some libraries, whatever the level of Airflow's log is."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)
