"""The platform that benchmarks measure, and the machine it runs on."""

from __future__ import annotations

import os
import platform as machine
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import httpx

from api.migrate import migrate
from api.platform import client
from api.platform.postgres import Cluster, locate
from tests.api.conftest import connected, owner_url_of
from tests.support import Platform, airflow_client, production_roles, temporary_home


@contextmanager
def running_platform() -> Iterator[Platform]:
    """A platform of its own in a temporary home; stopped at the end, also after an error or SIGTERM."""
    with client.stop_on_termination(), temporary_home() as home:
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state = home.read_state()
            with _client(home.api_url, state["api_token"]) as http, airflow_client(home) as airflow_http:
                cluster = locate(home.path, home.credentials().postgres_password)
                yield Platform(home, state, http, airflow_http, cluster)
        finally:
            running.stop()


def _client(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60)


def prepare_database(cluster: Cluster, name: str) -> None:
    """Make a database as in production: its owner migrates, and the control plane's role is bound to a tenant."""
    with connected(cluster.url("postgres")) as cursor:
        for statement in production_roles(cluster, name):
            cursor.execute(statement)
    migrate(owner_url_of(cluster, name))


def machine_line() -> str:
    """Return what the figures depend on: cores and versions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"Machine: {cores} cores ({machine.system()} {machine.machine()}), "
        f"Python {machine.python_version()}, Airflow {version('apache-airflow-core')}"
    )
