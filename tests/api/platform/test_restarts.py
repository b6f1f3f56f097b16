"""Dead children are started again, but not for ever."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform.children import Child, stop_all
from api.platform.errors import PlatformError
from api.platform.home import Home
from api.platform.supervisor import RESTARTS_IN_TEN_MINUTES, Supervisor
from tests.api.platform.test_processes import wait_until
from tests.support import free_ports

pytestmark = pytest.mark.platform


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A supervisor of two programs, the first in PostgreSQL's place. Nothing waits before a start."""
    home = Home(tmp_path / "home", *free_ports(2))
    home.path.mkdir()
    supervisor = Supervisor(home, restart=True, report=lambda event, text: None)
    monkeypatch.setattr(supervisor, "_pause", lambda seconds: None)
    supervisor.children = [
        Child(name, name, ["sleep", "600"], os.environ, tmp_path / f"{name}.log") for name in ("database", "other")
    ]
    for child in supervisor.children:
        child.start()
    yield supervisor
    stop_all(supervisor.children, 5.0)
    shutil.rmtree(supervisor.cluster.base, ignore_errors=True)


def kill(supervisor: Supervisor, child: Child) -> None:
    """Kill a child and have it replaced."""
    assert child.process is not None
    os.kill(child.process.pid, signal.SIGKILL)
    wait_until(lambda: not child.running)
    supervisor._replace(child)
    assert child.running


def test_gives_up(supervisor: Supervisor) -> None:
    other = supervisor.children[1]
    for _ in range(RESTARTS_IN_TEN_MINUTES):
        kill(supervisor, other)
    with pytest.raises(PlatformError, match="died 6 times within ten minutes; giving up"):
        kill(supervisor, other)


def test_what_the_database_took_with_it_does_not_count(supervisor: Supervisor) -> None:
    database, other = supervisor.children
    kill(supervisor, database)
    for _ in range(RESTARTS_IN_TEN_MINUTES + 2):
        kill(supervisor, other)
    assert other.restarts == []
    database.restarts.clear()
    kill(supervisor, other)
    assert len(other.restarts) == 1


def test_the_database_counts(supervisor: Supervisor) -> None:
    database = supervisor.children[0]
    for _ in range(RESTARTS_IN_TEN_MINUTES):
        kill(supervisor, database)
    with pytest.raises(PlatformError, match="giving up"):
        kill(supervisor, database)
