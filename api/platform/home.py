"""Where the embedded platform keeps its state: ``AGENT_FACTORY_HOME``."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from api.platform import disk
from api.platform.errors import PlatformError

DEFAULT_API_PORT = 8700
DEFAULT_AIRFLOW_PORT = 8080
OWNER_EMAIL = "owner@localhost"
"""Who owns the organisation of the embedded platform."""


@dataclass(frozen=True)
class Credentials:
    """Secrets of one home, made at its first start and kept in ``credentials.json`` (mode 0600)."""

    api_token: str
    runtime_token: str
    airflow_password: str
    airflow_jwt_secret: str
    airflow_secret_key: str
    airflow_fernet_key: str
    postgres_password: str
    secret_key: str
    owner_password: str

    @classmethod
    def generate(cls) -> Credentials:
        """Make new random secrets."""
        return cls(
            api_token=f"af_{secrets.token_urlsafe(32)}",
            runtime_token=f"afr_{secrets.token_urlsafe(32)}",
            airflow_password=secrets.token_urlsafe(12),
            airflow_jwt_secret=secrets.token_urlsafe(48),
            airflow_secret_key=secrets.token_urlsafe(32),
            airflow_fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            postgres_password=secrets.token_urlsafe(24),
            secret_key=secrets.token_urlsafe(48),
            owner_password=secrets.token_urlsafe(15),
        )


@dataclass(frozen=True)
class Home:
    """One state folder with its ports.

    :param path: The folder; made on demand with mode 0700.
    :param api_port: Port of the control plane on 127.0.0.1.
    :param airflow_port: Port of Airflow's UI and API on 127.0.0.1.
    """

    path: Path
    api_port: int
    airflow_port: int

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Home:
        """Read ``AGENT_FACTORY_HOME``, ``AGENT_FACTORY_API_PORT`` and ``AGENT_FACTORY_AIRFLOW_PORT``.

        :raises PlatformError: A port is not a number from 1 to 65535, or both are the same.
        """
        path = Path(environ.get("AGENT_FACTORY_HOME") or "~/.agent-factory").expanduser().absolute()
        api_port = _port(environ, "AGENT_FACTORY_API_PORT", DEFAULT_API_PORT)
        airflow_port = _port(environ, "AGENT_FACTORY_AIRFLOW_PORT", DEFAULT_AIRFLOW_PORT)
        if api_port == airflow_port:
            raise PlatformError(
                f"AGENT_FACTORY_API_PORT and AGENT_FACTORY_AIRFLOW_PORT must differ; both are {api_port}."
            )
        return cls(path, api_port, airflow_port)

    @property
    def api_url(self) -> str:
        """Base URL of the control plane."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def airflow_url(self) -> str:
        """Base URL of Airflow."""
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def logs(self) -> Path:
        """Folder of the child processes' logs."""
        return self.path / "logs"

    @property
    def state_file(self) -> Path:
        """``platform.json``: what runs, where; see :class:`api.platform.supervisor.Supervisor`."""
        return self.path / "platform.json"

    @property
    def _credentials_file(self) -> Path:
        return self.path / "credentials.json"

    def prepare(self) -> None:
        """Make the folders.

        :raises PlatformError: They cannot be made or written, or their disk is as good as full.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise PlatformError(
                f"The state folder {self.path} cannot be written ({error.strerror}); "
                "set AGENT_FACTORY_HOME to a folder you own."
            ) from error
        trouble = disk.trouble(self.path, disk.SPARE_BYTES if self._credentials_file.exists() else disk.NEW_BYTES)
        if trouble is not None:
            raise PlatformError(
                f"The platform cannot start: {trouble}. Make room, or set AGENT_FACTORY_HOME to a folder of yours "
                "on another disk."
            )

    def credentials(self) -> Credentials:
        """Return this home's secrets; make them at the first call.

        :raises PlatformError: The file is damaged.
        """
        path = self._credentials_file
        if not path.exists():
            credentials = Credentials.generate()
            write_private(path, orjson.dumps(credentials, option=orjson.OPT_INDENT_2))
            return credentials
        try:
            stored = orjson.loads(path.read_bytes())
            credentials = Credentials(**(_later_ones() | stored))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise PlatformError(
                f"{path} is damaged; remove {self.path} to start afresh (its data is lost then)."
            ) from error
        if asdict(credentials) != stored:
            write_private(path, orjson.dumps(credentials, option=orjson.OPT_INDENT_2))
        return credentials

    def read_state(self) -> dict[str, Any]:
        """Return the last written state of the platform, or ``{}``."""
        try:
            state = orjson.loads(self.state_file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return {}
        return state if isinstance(state, dict) else {}

    def check_ports(self) -> None:
        """Check that both ports are free.

        :raises PlatformError: One is in use; names it, its purpose and the setting that moves it.
        """
        for port, purpose, setting in (
            (self.api_port, "the control plane", "AGENT_FACTORY_API_PORT"),
            (self.airflow_port, "Airflow", "AGENT_FACTORY_AIRFLOW_PORT"),
        ):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise PlatformError(
                        f"Port {port}, needed for {purpose}, is not free ({error.strerror}); "
                        f"stop the program that holds it or set {setting} to another port."
                    ) from error


class HomeLock:
    """Held by guard and supervisor for as long as the platform lives; the kernel frees it, however they die."""

    def __init__(self, home: Home) -> None:
        self._path = home.path / "lock"

    def acquire(self) -> int | None:
        """Take the lock for as long as this process, or one that inherits the returned descriptor, lives; None if
        another platform of this home runs.

        :raises OSError: The lock's file cannot be written.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        except OSError:
            # A lock that does not say whose it is could not be asked to stop.
            os.close(descriptor)
            raise
        return descriptor

    def holder(self) -> int | None:
        """Return the pid of the running guard, or None if none runs."""
        try:
            # For reading, so that a platform can be stopped when its disk has become read-only.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 20).decode()
            return int(text) if text.isdigit() else None
        else:
            return None
        finally:
            os.close(descriptor)


def _later_ones() -> dict[str, str]:
    """Return new values of the secrets that homes of older versions do not have."""
    fresh = Credentials.generate()
    return {"secret_key": fresh.secret_key, "owner_password": fresh.owner_password}


def write_private(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only.

    :raises OSError: Not at all; what was there stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise PlatformError(f"{name} must be a port number from 1 to 65535; got {text!r}.")
    return int(text)
