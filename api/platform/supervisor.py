"""The supervisor: starts the platform's programs in order, watches them, restarts them, stops them.

Run by the guard as ``python -m api.platform.supervisor``. Progress goes as JSON lines to the descriptor named by
``--events``: ``{"event": "progress" | "ready" | "failed" | "notice", "text": "..."}``.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from api.platform import airflow, disk
from api.platform.celery import celery
from api.platform.children import Child, stop_all
from api.platform.errors import PlatformError
from api.platform.home import OWNER_EMAIL, Home, write_private
from api.platform.postgres import locate, server_environment
from operators.sandbox.processes import die_with_parent

START_SECONDS = 300.0
STOP_SECONDS = 15.0
RESTARTS_IN_TEN_MINUTES = 5
DATABASE_SHADOW_SECONDS = 60.0
"""So long after PostgreSQL died, the deaths of others are put down to that."""
WATCH_SECONDS = 0.5
OWNER_URL = "AGENT_FACTORY_DATABASE_OWNER_URL"
"""For the migration alone."""
DISK_SECONDS = 5.0
"""How often the disks are looked at."""


class Stopped(Exception):
    """The platform was asked to stop."""


class Supervisor:
    """One running platform.

    :param home: Its state folder.
    :param restart: Whether a dead child is started again (``up``) or ends the platform (``demo``).
    :param report: Called with each event.
    """

    def __init__(self, home: Home, *, restart: bool, report: Callable[[str, str], None]) -> None:
        self.home = home
        self.restart = restart
        self.report = report
        self.credentials = home.credentials()
        self.cluster = locate(home.path, self.credentials.postgres_password)
        self.celery = celery(os.environ)
        self.airflow_environment = airflow.environment(home, self.credentials, self.cluster, os.environ)
        self.children: list[Child] = []
        self.began = time.monotonic()
        self.stop_asked = False
        self._disk_trouble: str | None = None
        self._disk_looked_at = self.began

    def run(self) -> None:
        """Start everything, watch it until asked to stop, stop everything.

        :raises PlatformError: A child could not be started or died for good.
        """
        try:
            self._write_state("starting")
            self._start()
            self._write_state("ready")
            self.report("ready", f"ready after {time.monotonic() - self.began:.1f} s")
            self._watch()
        except Stopped:
            pass
        finally:
            self._write_state("stopping")
            # PostgreSQL, the first, goes last.
            stop_all(self.children[1:], STOP_SECONDS)
            stop_all(self.children[:1], STOP_SECONDS)
            self._write_state("stopped")

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: end the platform in good order."""
        self.stop_asked = True

    def _start(self) -> None:
        self._start_postgres()
        airflow.prepare(self.home, self.credentials)
        self._migrate()
        api = self._api_child()
        parts = [api, *self._airflow_children()]
        for child in parts:
            self._start_child(child)
        self._wait_for(f"{self.home.api_url}/ready", "the control plane", lambda body: True)
        self._wait_for(f"{self.home.airflow_url}/api/v2/monitor/health", "Airflow", _airflow_is_healthy)

    def _start_postgres(self) -> None:
        if not self.cluster.data.exists() and (trouble := self._trouble(disk.NEW_BYTES)):
            raise PlatformError(f"PostgreSQL cannot be set up: {trouble}.")
        fresh = self.cluster.initialise()
        if fresh:
            # Numbers of releases begin anew with the database: what is here of older ones would be taken for them.
            shutil.rmtree(self.home.path / "airflow" / "bundles", ignore_errors=True)
        postgres = Child(
            "PostgreSQL", "postgres", self.cluster.command(), server_environment(), self.home.logs / "postgres.log",
            stop_signal=signal.SIGINT, account=self.cluster.account,
        )  # fmt: skip
        self._start_child(postgres)
        assert postgres.process is not None
        self.cluster.wait_ready(postgres.process)
        for database in ("airflow", "agent_factory"):
            self.cluster.ensure_database(database)
        self.cluster.ensure_app_role()
        self.report("progress", "PostgreSQL is up" + (" (a new database)" if fresh else ""))

    def _migrate(self) -> None:
        """Bring both databases to the code's schema, side by side."""
        airflow_version = f"apache-airflow {version('apache-airflow')}"
        migrations = [
            Child(
                "the control plane's migration", "migrate", [sys.executable, "-m", "api.migrate"],
                self.api_environment() | {OWNER_URL: self.cluster.url("agent_factory")}, self.home.logs / "migrate.log",
            )
        ]  # fmt: skip
        # Airflow takes 12 s to find that it has nothing to do.
        if self.cluster.stamp("airflow") != airflow_version:
            self.report("progress", "making Airflow's tables")
            migrations.append(
                Child(
                    "Airflow's migration", "airflow-migrate", airflow.command("db", "migrate"),
                    self.airflow_environment, self.home.logs / "airflow-migrate.log",
                )
            )  # fmt: skip
        for child in migrations:
            self._start_child(child)
        for child in migrations:
            while child.running:
                self._pause()
            if child.exit_code() != 0:
                raise PlatformError(_capital(child.death_notice()))
            self.children.remove(child)
        self.cluster.set_stamp("airflow", airflow_version)
        self.report("progress", "the databases are at the current schema")

    def api_environment(self) -> dict[str, str]:
        """Return the environment of the control plane's processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", OWNER_URL))}
        return {
            # One trusted user on one machine: a benchmark or a batch of theirs is no attack.
            "AGENT_FACTORY_RATE_LIMITS": "off",
            **kept,
            "AGENT_FACTORY_DATABASE_URL": self.cluster.app_url("agent_factory"),
            "AGENT_FACTORY_OBJECT_FOLDER": str(self.home.path / "objects"),
            "AGENT_FACTORY_API_HOST": "127.0.0.1",
            "AGENT_FACTORY_API_PORT": str(self.home.api_port),
            "AGENT_FACTORY_API_URL": self.home.api_url,
            "AGENT_FACTORY_API_TOKEN": self.credentials.api_token,
            "AGENT_FACTORY_RUNTIME_TOKEN": self.credentials.runtime_token,
            "AGENT_FACTORY_SECRET_KEY": self.credentials.secret_key,
            "AGENT_FACTORY_OWNER_EMAIL": OWNER_EMAIL,
            "AGENT_FACTORY_OWNER_PASSWORD": self.credentials.owner_password,
            "AGENT_FACTORY_AIRFLOW_URL": self.home.airflow_url,
            "AGENT_FACTORY_AIRFLOW_USERNAME": airflow.USER,
            "AGENT_FACTORY_AIRFLOW_PASSWORD": self.credentials.airflow_password,
            "AGENT_FACTORY_AIRFLOW_DATABASE_URL": self.cluster.url("airflow", "postgresql+psycopg2"),
        }

    def _api_child(self) -> Child:
        return Child(
            "the control plane", "api", [sys.executable, "-m", "api"], self.api_environment(),
            self.home.logs / "api.log",
        )  # fmt: skip

    def _airflow_children(self) -> list[Child]:
        programs = [
            ("Airflow's API server", "airflow-api-server", ["api-server"]),
            ("the Airflow scheduler", "airflow-scheduler", ["scheduler", "--skip-serve-logs"]),
            ("the Airflow DAG processor", "airflow-dag-processor", ["dag-processor"]),
            ("the Airflow triggerer", "airflow-triggerer", ["triggerer", "--skip-serve-logs"]),
        ]
        workers = self.celery.commands() if self.celery else {}
        programs += [(f"Airflow's worker {key}", key, arguments) for key, arguments in workers.items()]
        return [
            Child(name, key, airflow.command(*arguments), self.airflow_environment, self.home.logs / f"{key}.log")
            for name, key, arguments in programs
        ]

    def _start_child(self, child: Child) -> None:
        child.start()
        self.children.append(child)
        self._write_state("starting")

    def _wait_for(self, url: str, name: str, healthy: Callable[[Any], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self._check_starting()
            if healthy(_get(url)):
                self.report("progress", f"{name} is up")
                return
            self._pause()
        raise PlatformError(f"{_capital(name)} did not answer at {url} within {START_SECONDS:.0f} s.")

    def _check_starting(self) -> None:
        for child in self.children:
            if not child.running:
                raise PlatformError(_capital(child.death_notice()))

    def _watch(self) -> None:
        while True:
            self._pause(WATCH_SECONDS)
            self._look_at_disks()
            for child in self.children:
                if not child.running:
                    self._replace(child)

    def _look_at_disks(self) -> None:
        """Say it once when a disk gets full or read-only, and once when it is well again."""
        if time.monotonic() - self._disk_looked_at < DISK_SECONDS:
            return
        self._disk_looked_at = time.monotonic()
        trouble = self._trouble()
        if trouble and not self._disk_trouble:
            self.report("notice", f"{_capital(trouble)}. What cannot be stored fails until there is room again.")
        elif self._disk_trouble and not trouble:
            self.report("notice", "The disk takes what is written again.")
        self._disk_trouble = trouble

    def _trouble(self, least: int = disk.SPARE_BYTES) -> str | None:
        """Return what is wrong with the disks of the state folder and of PostgreSQL."""
        folders: list[Path] = [self.home.path]
        if self.cluster.base.exists():
            folders.append(self.cluster.base)
        return next(filter(None, (disk.trouble(folder, least) for folder in folders)), None)

    def _wait_for_disks(self, notice: str, trouble: str) -> None:
        """Wait until the disks take what is written: to start a program before that would only break it again."""
        self.report("notice", f"{notice} {_capital(trouble)}. It is started again when there is room.")
        while trouble_left := self._trouble():
            self._disk_trouble = trouble_left
            self._pause(WATCH_SECONDS)

    def _replace(self, child: Child) -> None:
        """Start a dead child again, later each time; give up after a few deaths within ten minutes.

        Deaths that PostgreSQL's own has caused do not count. While a disk is full or read-only it waits for that to
        end.
        """
        notice = _capital(child.death_notice())
        child.kill_group()
        trouble = self._trouble()
        if not self.restart:
            raise PlatformError(f"{notice} {_capital(trouble)}." if trouble else notice)
        if trouble:
            self._wait_for_disks(notice, trouble)
        now = time.monotonic()
        if self._lost_its_database(child, now):
            self.report("notice", f"{notice} PostgreSQL was away. Starting it again in 1 s.")
            self._pause(1.0)
            child.start()
            self._write_state("ready")
            return
        child.restarts = [moment for moment in child.restarts if now - moment < 600]
        if len(child.restarts) >= RESTARTS_IN_TEN_MINUTES:
            raise PlatformError(f"{notice} It died {len(child.restarts) + 1} times within ten minutes; giving up.")
        delay = min(30.0, 2.0 ** len(child.restarts) - 1)
        child.restarts.append(now)
        self.report("notice", f"{notice} Starting it again in {delay:.0f} s.")
        self._pause(delay)
        child.start()
        self._write_state("ready")

    def _lost_its_database(self, child: Child, now: float) -> bool:
        """Whether a death is one that PostgreSQL's has caused."""
        database = self.children[0]
        return child is not database and any(now - moment < DATABASE_SHADOW_SECONDS for moment in database.restarts)

    def _pause(self, seconds: float = 0.1) -> None:
        """Wait, but notice within a moment that the platform is to stop."""
        deadline = time.monotonic() + seconds
        while True:
            if self.stop_asked:
                raise Stopped
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(0.1, left))

    def _write_state(self, status: str) -> None:
        state = {
            "status": status,
            "pid": os.getppid(),
            "api_url": self.home.api_url,
            "api_token": self.credentials.api_token,
            "airflow_url": self.home.airflow_url,
            "airflow_username": airflow.USER,
            "airflow_password": self.credentials.airflow_password,
            "children": {
                child.key: {"pid": child.process.pid if child.process else None, "restarts": len(child.restarts)}
                for child in self.children
            },
        }
        with contextlib.suppress(OSError):
            write_private(self.home.state_file, orjson.dumps(state, option=orjson.OPT_INDENT_2))


def _airflow_is_healthy(body: Any) -> bool:
    return isinstance(body, dict) and all(
        isinstance(body.get(part), dict) and body[part].get("status") == "healthy"
        for part in ("metadatabase", "scheduler", "dag_processor", "triggerer")
    )


def _get(url: str) -> Any:
    """Return the JSON behind a URL, or None while it does not answer well."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return orjson.loads(response.read())
    except (OSError, urllib.error.URLError, orjson.JSONDecodeError):
        return None


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _reporter(descriptor: int | None) -> Callable[[str, str], None]:
    def report(event: str, text: str) -> None:
        line = orjson.dumps({"event": event, "text": text}, option=orjson.OPT_APPEND_NEWLINE)
        # The log's disk may be full: then the one who follows hears it all the same.
        with contextlib.suppress(OSError):
            os.write(2, f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {event}: {text}\n".encode())
        if descriptor is not None:
            # The one who followed the start may be gone; the platform goes on.
            with contextlib.suppress(OSError):
                os.write(descriptor, line)

    return report


def main(arguments: list[str]) -> int:
    """Run a platform; return 0 after an orderly stop, 1 after a failure that was reported."""
    guard = os.getppid()
    die_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int)
    parser.add_argument("--no-restart", action="store_true")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    home = Home.from_environment()
    report = _reporter(options.events)
    try:
        # The log takes what the children's own logs do not: the supervisor's words.
        with (home.logs / "platform.log").open("ab", buffering=0) as log:
            os.dup2(log.fileno(), 2)
            os.dup2(log.fileno(), 1)
        home.check_ports()
        supervisor = Supervisor(home, restart=not options.no_restart, report=report)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, supervisor.ask_to_stop)
        if os.getppid() != guard:
            return 1
        supervisor.run()
    except PlatformError as error:
        report("failed", str(error))
        return 1
    except (OSError, subprocess.SubprocessError) as error:
        report("failed", f"The platform could not go on: {disk.trouble(home.path) or error}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
