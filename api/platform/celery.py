"""The embedded platform with CeleryExecutor, as production has it: a Redis of yours, and workers as processes here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from api.platform.errors import PlatformError
from api.platform.postgres import Cluster

WORKERS = "AGENT_FACTORY_CELERY_WORKERS"
REDIS_URL = "AGENT_FACTORY_REDIS_URL"
CONCURRENCY = 2
"""Tasks at once in one worker."""
MAXIMUM_WORKERS = 32


@dataclass(frozen=True)
class Celery:
    """How many workers, and where their queue is."""

    workers: int
    redis_url: str

    @property
    def tasks(self) -> int:
        """How many tasks run at once in all workers."""
        return self.workers * CONCURRENCY

    def settings(self, cluster: Cluster) -> dict[tuple[str, str], str]:
        """Return Airflow's settings by section and key."""
        return {
            ("core", "executor"): "CeleryExecutor",
            # No more than the workers take: what is queued longer than a moment is lost and queued anew.
            ("core", "parallelism"): str(self.tasks),
            ("celery", "broker_url"): self.redis_url,
            ("celery", "result_backend"): f"db+{cluster.url('airflow', 'postgresql+psycopg2')}",
            ("celery", "worker_concurrency"): str(CONCURRENCY),
            # A worker that is stopped for good does not keep tasks of others waiting.
            ("celery", "worker_prefetch_multiplier"): "1",
        }

    def commands(self) -> dict[str, list[str]]:
        """Return the arguments of ``airflow`` for each worker, by its short name."""
        names = [f"airflow-worker-{number}" for number in range(1, self.workers + 1)]
        return {
            name: ["celery", "worker", "--celery-hostname", f"{name}@%h", "--skip-serve-logs", "--without-mingle"]
            for name in names
        }


def celery(environment: Mapping[str, str]) -> Celery | None:
    """Read the settings; None where tasks run in the scheduler's own workers (LocalExecutor).

    :raises PlatformError: They cannot be used.
    """
    text = environment.get(WORKERS, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAXIMUM_WORKERS):
        raise PlatformError(f"{WORKERS} must be a number from 1 to {MAXIMUM_WORKERS}; got {text!r}.")
    url = environment.get(REDIS_URL, "")
    if not url.startswith(("redis://", "rediss://")):
        raise PlatformError(f"{WORKERS} needs {REDIS_URL}, a URL like 'redis://127.0.0.1:6379/0'.")
    if importlib.util.find_spec("celery") is None:
        raise PlatformError(f"{WORKERS} needs Celery; install this project's extra `celery`.")
    return Celery(int(text), url)
