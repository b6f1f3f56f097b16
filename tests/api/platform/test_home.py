"""The state folder: ports, secrets, lock."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path

import pytest

from api.platform import client
from api.platform.errors import PlatformError
from api.platform.home import Home, HomeLock

pytestmark = pytest.mark.unit


def home_in(folder: Path) -> Home:
    home = Home(folder / "home", 18700, 18080)
    home.prepare()
    return home


class TestFromEnvironment:
    @pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "80 "])
    def test_bad_port(self, text: str) -> None:
        with pytest.raises(PlatformError, match="AGENT_FACTORY_API_PORT must be a port number"):
            Home.from_environment({"AGENT_FACTORY_API_PORT": text})

    def test_same_ports(self) -> None:
        with pytest.raises(PlatformError, match="must differ"):
            Home.from_environment({"AGENT_FACTORY_API_PORT": "9000", "AGENT_FACTORY_AIRFLOW_PORT": "9000"})


class TestPrepare:
    def test_folder_is_private(self, tmp_path: Path) -> None:
        assert stat.S_IMODE(home_in(tmp_path).path.stat().st_mode) == 0o700

    def test_path_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "home").write_text("")
        with pytest.raises(PlatformError, match="AGENT_FACTORY_HOME"):
            home_in(tmp_path)


class TestCredentials:
    def test_made_once_and_private(self, tmp_path: Path) -> None:
        home = home_in(tmp_path)
        first = home.credentials()
        assert home.credentials() == first
        assert stat.S_IMODE((home.path / "credentials.json").stat().st_mode) == 0o600

    def test_two_homes_differ(self, tmp_path: Path) -> None:
        assert home_in(tmp_path / "a").credentials() != home_in(tmp_path / "b").credentials()

    def test_a_home_of_an_older_version_gets_what_it_lacks_and_keeps_it(self, tmp_path: Path) -> None:
        home = home_in(tmp_path)
        made = home.credentials()
        path = home.path / "credentials.json"
        older = json.loads(path.read_text())
        del older["secret_key"], older["owner_password"]
        path.write_text(json.dumps(older))
        upgraded = home.credentials()
        assert upgraded.api_token == made.api_token
        assert len(upgraded.secret_key) >= 32
        assert home.credentials() == upgraded
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_damaged(self, tmp_path: Path) -> None:
        home = home_in(tmp_path)
        (home.path / "credentials.json").write_text('{"api_token": "x"}')
        with pytest.raises(PlatformError, match="is damaged"):
            home.credentials()


class TestPorts:
    def test_in_use_is_one_clear_sentence(self, tmp_path: Path) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            home = Home(tmp_path / "home", port, port + 1 if port < 65535 else port - 1)
            with pytest.raises(PlatformError, match=f"Port {port}, needed for the control plane, is not free"):
                client.start(home, detach=False, restart=False)


class TestLock:
    def test_held_until_the_last_descriptor_is_closed(self, tmp_path: Path) -> None:
        lock = HomeLock(home_in(tmp_path))
        descriptor = lock.acquire()
        assert descriptor is not None
        inherited = os.dup(descriptor)
        os.close(descriptor)
        assert lock.holder() == os.getpid()
        assert lock.acquire() is None
        os.close(inherited)
        assert lock.holder() is None
