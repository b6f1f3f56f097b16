"""``python -m tests.chaos``: many executions while parts of the platform are killed and frozen."""

from __future__ import annotations

import argparse
import contextlib
import subprocess
from collections.abc import Iterator

from api.platform.celery import REDIS_URL, WORKERS
from tests.chaos.run import run, seed_of_environment
from tests.support import free_ports


def main() -> None:
    """Run chaos with the size and the seed of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=200)
    parser.add_argument("--disruptions", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--celery", type=int, default=0, metavar="WORKERS", help="with CeleryExecutor and a real Redis")
    options = parser.parse_args()
    seed = seed_of_environment() if options.seed is None else options.seed
    with contextlib.ExitStack() as stack:
        environment = stack.enter_context(celery_environment(options.celery)) if options.celery else {}
        run(executions=options.executions, disruptions=options.disruptions, seed=seed, environment=environment)


@contextlib.contextmanager
def celery_environment(workers: int) -> Iterator[dict[str, str]]:
    """Start a Redis and give the settings that make the platform use it."""
    (port,) = free_ports(1)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield {WORKERS: str(workers), REDIS_URL: f"redis://127.0.0.1:{port}/0"}
    finally:
        redis.terminate()
        redis.wait()


if __name__ == "__main__":
    main()
