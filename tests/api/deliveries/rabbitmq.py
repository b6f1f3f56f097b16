"""A real RabbitMQ: Debian's, as processes of ours on free ports of this machine, in a folder that goes at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support import free_ports

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""The server itself. What Debian puts into the path changes to its own user and folders first."""
PASSWORD = "planted-amqp-password"
START_SECONDS = 90.0


def why_no_rabbitmq() -> str | None:
    """Return why no RabbitMQ can be had, or None where there is one."""
    if not SERVER.exists() or shutil.which("epmd") is None:
        return "RabbitMQ is not installed: apt-get install rabbitmq-server"
    return None


class RabbitMQ:
    """One broker. Its node has a port mapper of its own, so that no other broker of the machine is touched.

    :param folder: For its queues, logs and cookie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        self.port, self._mapper_port, self._nodes_port = free_ports(3)
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.default = 127.0.0.1:{self.port}\ndefault_user = factory\ndefault_pass = {PASSWORD}\n"
            "loopback_users = none\n"
        )

    @property
    def url(self) -> str:
        """The URL with the right password."""
        return f"amqp://factory:{PASSWORD}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        environment = self._environment()
        with (self._folder / "output.log").open("ab") as log:
            if self._mapper is None:
                command = ["epmd", "-port", str(self._mapper_port), "-address", "127.0.0.1"]
                self._mapper = subprocess.Popen(command, env=environment, cwd="/", stdout=log, stderr=log)
            self._server = subprocess.Popen(
                [SERVER], env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._wait_until_open()

    def kill(self) -> None:
        """Kill it as a power failure would: no word to anybody."""
        server, self._server = self._server, None
        assert server is not None
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()

    def freeze(self) -> None:
        """Let it do nothing, with its connections open."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._server is not None
        os.killpg(self._server.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it with its port mapper."""
        if self._server is not None:
            self.kill()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait()

    def _environment(self) -> dict[str, str]:
        folder = self._folder
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"factory{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1:1",
            "RABBITMQ_BASE": str(folder),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            # One process in the foreground; else it is the child of a shell.
            "RUNNING_UNDER_SYSTEMD": "1",
        }

    def _wait_until_open(self) -> None:
        assert self._server is not None
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert self._server.poll() is None, (self._folder / "output.log").read_text()[-2000:]
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(0.1)
        raise AssertionError("RabbitMQ did not start: " + (self._folder / "output.log").read_text()[-2000:])


@contextmanager
def running_rabbitmq() -> Iterator[RabbitMQ]:
    """A broker that runs, until the end."""
    folder = Path(tempfile.mkdtemp(prefix="rmq-"))
    broker = RabbitMQ(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)
