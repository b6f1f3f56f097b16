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

import orjson

from agent_factory_client import AgentFactory, ApiError
from agent_factory_client.schemas import TokenAnswer
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
    def of(cls, url: str, answer: TokenAnswer) -> StoredLogin:
        """Return the login of an answer with tokens."""
        return cls(url, answer["access_token"], answer["refresh_token"], time.time() + answer["expires_in"])

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


def fresh_login() -> StoredLogin | None:
    """Return the stored login with an access token that lasts; refresh it where needed.

    One process at a time: a refresh token that is used twice ends the session.

    :raises LoginOver: The session has ended.
    :raises ConnectionFailed: The control plane does not answer.
    """
    login = read_login()
    if login is None or login.is_fresh:
        return login
    with _alone():
        login = read_login()
        if login is None or login.is_fresh:
            return login
        try:
            with AgentFactory(login.url, timeout=30.0) as factory:
                answer = factory.auth.refresh(login.refresh_token)
        except ApiError as error:
            if error.status != 401:
                raise
            store_login(None)
            raise LoginOver from None
        login = StoredLogin.of(login.url, answer)
        store_login(login)
        return login


@contextmanager
def _alone() -> Iterator[None]:
    path = login_file().with_suffix(".lock")
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("a"))
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
