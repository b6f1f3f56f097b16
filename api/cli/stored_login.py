"""The login that ``agent-factory login`` keeps: a file of the user's own, refreshed by itself."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

from api.platform.home import write_private

SPARE_SECONDS = 30.0


class LoginOver(Exception):
    """The session has ended: a new login is needed."""


@dataclass
class StoredLogin:
    """Tokens of one control plane. ``valid_until`` is a time of this machine's clock."""

    url: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    valid_until: float

    @classmethod
    def of(cls, url: str, answer: dict[str, Any], refresh_token: str | None = None) -> StoredLogin:
        """Return the login of an answer with tokens."""
        token = str(answer.get("refresh_token") or refresh_token)
        return cls(url, str(answer["access_token"]), token, time.time() + float(answer["expires_in"]))

    @property
    def is_fresh(self) -> bool:
        """Whether the access token still lasts a while."""
        return time.time() < self.valid_until - SPARE_SECONDS


def login_file() -> Path:
    """Return where the login is kept."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder).expanduser() / "agent-factory" / "login.json"


def read_login() -> StoredLogin | None:
    """Return the stored login; None where there is none that can be read."""
    try:
        return StoredLogin(**orjson.loads(login_file().read_bytes()))
    except (OSError, orjson.JSONDecodeError, TypeError):
        return None


def store_login(login: StoredLogin | None) -> None:
    """Store a login, for its owner's eyes only; None removes it."""
    path = login_file()
    if login is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, orjson.dumps(asdict(login)))


def fresh_login(client: httpx.Client) -> StoredLogin | None:
    """Return the stored login with an access token that lasts; refresh it where needed.

    One process at a time: a refresh token that is used twice ends the session.

    :raises LoginOver: The session has ended.
    :raises httpx.TransportError: The control plane does not answer.
    """
    login = read_login()
    if login is None or login.is_fresh:
        return login
    with _alone():
        login = read_login()
        if login is None or login.is_fresh:
            return login
        response = client.post(f"{login.url}/api/v1/auth/refresh", json={"refresh_token": login.refresh_token})
        if response.status_code == 401:
            store_login(None)
            raise LoginOver
        response.raise_for_status()
        login = StoredLogin.of(login.url, response.json())
        store_login(login)
        return login


@contextmanager
def _alone() -> Iterator[None]:
    path = login_file().with_suffix(".lock")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("a"))
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
