"""Code that means harm: it gets a clear error, the platform goes on, and nothing of it is left."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.sandbox.processes import descendants
from operators.sandbox.sandbox import JobFailedError, Sandbox
from tests.operators.sandbox.jobs import failure, job

pytestmark = pytest.mark.unit

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="without root the steps have our own user")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the platform's, with a secret in its environment."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], env={"SECRET": "s3cret"}, stdin=subprocess.PIPE)
    yield process
    assert process.poll() is None, "it must have survived"
    process.kill()
    process.wait()


async def still_works(sandbox: Sandbox) -> bool:
    return await sandbox.run(job("return [input, __import__('os').listdir('.')]", 7)) == [7, []]


class TestResources:
    @pytest.mark.parametrize(
        "code",
        [
            "import os\nwhile True: os.fork()",
            "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()",
            # Children that fork on while their parents end.
            "import os, time\nfor _ in range(500):\n    os.fork()\ntime.sleep(100)",
        ],
    )
    async def test_too_many_processes(self, sandbox: Sandbox, code: str) -> None:
        error = await failure(sandbox, code)
        assert (error.code, error.retryable) == ("too_many_processes", False)
        assert await still_works(sandbox)

    @pytest.mark.parametrize(
        "code",
        [
            "x = bytearray(10**9)",
            "x = []\nwhile True: x.append('x' * 10**6)",
            # Each process below the limit, together far above.
            "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = bytearray(b'x' * 10**8)\n"
            "        time.sleep(100)\ntime.sleep(100)",
        ],
    )
    async def test_too_much_memory(self, sandbox: Sandbox, code: str) -> None:
        error = await failure(sandbox, code)
        assert (error.code, error.retryable) == ("out_of_memory", False)
        assert await still_works(sandbox)

    async def test_memory_is_watched_while_it_prints(self, sandbox: Sandbox) -> None:
        code = """
        import os, time
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(b"x" * 10**8)
                while True:
                    os.write(1, b".")
                    time.sleep(0.001)
        time.sleep(100)
        """
        assert (await failure(sandbox, "def main(input):" + code)).code == "out_of_memory"

    async def test_endless_output(self, sandbox: Sandbox) -> None:
        error = await failure(sandbox, "while True: print('x' * 10000)")
        assert error.code == "output_too_large"
        assert len(error.message) < 1200
        assert await still_works(sandbox)

    @pytest.mark.parametrize("code", ["return 'x' * 1_000_001", "import os\nwhile True: os.write(3, b'O' * 65536)"])
    async def test_a_result_without_end(self, sandbox: Sandbox, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_RESULT_MAX_BYTES", "1000000")
        assert (await failure(sandbox, code)).code == "output_too_large"
        assert await still_works(sandbox)

    async def test_huge_files(self, sandbox: Sandbox) -> None:
        error = await failure(sandbox, "with open('x', 'wb') as f:\n    while True: f.write(b'0' * 10**6)")
        assert (error.code, "File too large" in error.message or "No space" in error.message) == ("code_error", True)
        many = "for n in range(100):\n    open(str(n), 'wb').write(b'0' * 10**6)\n__import__('time').sleep(99)"
        error = await failure(sandbox, many)
        assert error.code == "storage_full" or "No space" in error.message
        assert await still_works(sandbox)

    async def test_many_files_and_no_core(self, sandbox: Sandbox) -> None:
        error = await failure(sandbox, "import os\nx = [os.open('/dev/null', 0) for _ in range(1000)]")
        assert "Too many open files" in error.message
        error = await failure(sandbox, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
        assert (error.code, error.retryable) == ("killed", True)
        assert "SIGSEGV" in error.message
        assert await still_works(sandbox)

    async def test_processor_time(self, sandbox: Sandbox) -> None:
        error = await failure(sandbox, "while True: pass", timeout_seconds=0.1)
        assert (error.code, error.retryable) == ("timeout", True)
        assert await still_works(sandbox)

    @needs_root
    async def test_the_kernel_takes_steps_first(self, sandbox: Sandbox) -> None:
        assert await sandbox.run(job("return open('/proc/self/oom_score_adj').read()")) == "1000\n"


class TestNothingIsLeft:
    async def test_orphaned_grandchildren(self, sandbox: Sandbox) -> None:
        code = """
        import os, signal, time
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(3):
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.setsid()
                    time.sleep(1000)
                os._exit(0)
        return "done"
        """
        assert await sandbox.run(job("def main(input):" + code)) == "done"
        seen = await sandbox.run(job("import os\nreturn sum(os.stat('/proc/' + p).st_uid == os.getuid() "
                                     "for p in os.listdir('/proc') if p.isdigit())"))  # fmt: skip
        assert os.geteuid() != 0 or seen <= 1

    async def test_cancelled_in_the_middle(self, sandbox: Sandbox) -> None:
        before = set(descendants(os.getpid()))
        code = "import os, time\nos.fork()\nos.setsid() if os.fork() == 0 else 0\nopen('x', 'w')\ntime.sleep(1000)"
        task = asyncio.create_task(sandbox.run(job(code)))
        while len(set(descendants(os.getpid())) - before) < 5:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert set(descendants(os.getpid())) <= before
        assert await still_works(sandbox)

    async def test_keeper_killed(self, sandbox: Sandbox) -> None:
        assert await still_works(sandbox)
        before = set(descendants(os.getpid()))
        task = asyncio.create_task(sandbox.run(job("import time\ntime.sleep(1000)")))
        while not (new := set(descendants(os.getpid())) - before):
            await asyncio.sleep(0.01)
        assert new
        for keeper in sandbox._keepers:
            keeper._process.kill()
        with pytest.raises(Exception, match="broke off") as error:
            await task
        assert error.value.retryable  # type: ignore[attr-defined]
        assert await still_works(sandbox)

    async def test_worker_killed(self) -> None:
        """A worker that dies leaves nothing: its keeper notices."""
        script = (
            "import asyncio, sys\nfrom operators.sandbox.sandbox import Sandbox\n"
            "from tests.operators.sandbox.jobs import job\n"
            "code = 'import os, time\\nos.fork()\\nprint()\\ntime.sleep(1000)'\n"
            "asyncio.run(Sandbox(namespaces=sys.argv[1] == '1').run(job(code)))\n"
        )
        for namespaces in "10":
            before = set(descendants(os.getpid()))
            worker = subprocess.Popen([sys.executable, "-c", script, namespaces], cwd=Path(__file__).parents[3])
            while len(set(descendants(os.getpid())) - before) < 4:
                assert worker.poll() is None
                await asyncio.sleep(0.01)
            worker.kill()
            worker.wait()
            async with asyncio.timeout(20):
                while set(descendants(os.getpid())) - before:
                    await asyncio.sleep(0.01)


class TestSecrets:
    async def test_the_environment_is_empty(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "s3cret")
        code = "import os, subprocess\nreturn [dict(os.environ), subprocess.check_output('env', text=True)]"
        assert await sandbox.run(job(code)) == [{}, ""]

    @needs_root
    async def test_other_environments(self, sandbox: Sandbox, bystander: subprocess.Popen[bytes]) -> None:
        code = """
        import os
        found = []
        for pid in [*input, *filter(str.isdigit, os.listdir("/proc"))]:
            for name in ("environ", "mem", "maps"):
                try:
                    data = open(f"/proc/{pid}/{name}", "rb").read(100_000)
                except OSError:
                    continue
                if data and int(pid) != os.getpid():
                    found.append([pid, name])
        return found
        """
        pids = [str(bystander.pid), str(os.getpid()), str(os.getppid())]
        assert await sandbox.run(job("def main(input):" + code, pids)) == []

    @needs_root
    async def test_files_of_the_platform(self, sandbox: Sandbox, tmp_path: Path) -> None:
        secret = tmp_path / "credentials.json"
        secret.write_text("s3cret")
        secret.chmod(0o600)
        for code in ("open(input).read()", "open(input, 'w')", "import os\nos.unlink(input)", "open('/etc/shadow')"):
            error = await failure(sandbox, code, str(secret))
            assert "PermissionError" in error.message or "FileNotFoundError" in error.message
        assert secret.read_text() == "s3cret"

    @needs_root
    async def test_rights_do_not_come_back(self, sandbox: Sandbox) -> None:
        code = """
        import os, re
        status = open("/proc/self/status").read()
        rights = [int(value, 16) for value in re.findall(r"Cap(?:Inh|Prm|Eff|Amb):\\t(\\w+)", status)]
        for attempt in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot("/")):
            try:
                attempt()
            except PermissionError:
                rights.append(0)
            else:
                rights.append(1)
        return [sum(rights), "NoNewPrivs:\\t1" in status, os.getgroups()]
        """
        assert await sandbox.run(job("def main(input):" + code)) == [0, True, []]

    async def test_descriptors(self, sandbox: Sandbox, tmp_path: Path) -> None:
        with open(tmp_path / "open", "w") as file, socket.socket() as connection:
            os.set_inheritable(file.fileno(), True)
            os.set_inheritable(connection.fileno(), True)
            code = """
            import os
            found = {}
            for number in os.listdir("/proc/self/fd"):
                try:
                    found[number] = os.readlink("/proc/self/fd/" + number)
                except OSError:
                    pass
            return [name for number, name in found.items() if int(number) > 3 and "/proc" not in name]
            """
            left = await sandbox.run(job("def main(input):" + code))
        # Where the library lies in a folder that steps may not enter, its own folders are open.
        assert isinstance(left, list)
        assert all("python3" in str(name) for name in left)

    async def test_no_network(self, sandbox: Sandbox) -> None:
        """With namespaces ``network: none`` holds; without them it cannot, which the README says."""
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            code = "import socket\nsocket.create_connection(('127.0.0.1', input), 5)\nreturn 'connected'"
            port = server.getsockname()[1]
            assert await sandbox.run(job(code, port, network="egress")) == "connected"
            if sandbox._namespaces and os.geteuid() == 0:
                assert "unreachable" in (await failure(sandbox, code, port)).message


class TestOthers:
    @needs_root
    @pytest.mark.parametrize(
        "code",
        [
            "import os\nos.kill(input, 9)",
            "import os\nos.killpg(os.getpgid(input), 9)",
            "import os\nos.kill(os.getppid(), 9)\nos.kill(1, 15)",
            "import os\nos.killpg(os.getpgid(os.getppid()), 9)",
            "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nfor pid in (input, os.getppid()):\n"
            "    if libc.ptrace(16, pid, 0, 0) != -1: raise SystemExit('attached')\nraise PermissionError",
            "import resource\nresource.prlimit(input, resource.RLIMIT_NOFILE, (1, 1))",
        ],
    )
    async def test_signals_and_ptrace(self, sandbox: Sandbox, bystander: subprocess.Popen[bytes], code: str) -> None:
        error = await failure(sandbox, code, bystander.pid)
        refused = "PermissionError" in error.message or "ProcessLookupError" in error.message
        # Where its keeper is in no group that it can see, it meets its own.
        assert (error.code, refused) == ("code_error", True) or (error.code, "getppid" in code) == ("killed", True)
        assert await still_works(sandbox)

    @needs_root
    async def test_killing_all(self, sandbox: Sandbox, bystander: subprocess.Popen[bytes]) -> None:
        code = "import os\ntry:\n    os.kill(-1, 9)\nexcept ProcessLookupError:\n    pass\nreturn 'alone'"
        assert await sandbox.run(job(code)) == "alone"
        assert await still_works(sandbox)

    async def test_a_step_cannot_forge_the_next_ones_result(self, sandbox: Sandbox) -> None:
        """What a step leaves running dies before the next one begins, and it never had the worker's pipe."""
        code = """
        import os, time
        for pid in (os.getppid(), 1):
            for number in range(12):
                try:
                    with open(f"/proc/{pid}/fd/{number}", "wb") as pipe:
                        pipe.write(b'{"reason": "ended", "exit_code": 0, "tail": "", "size": 2}\\nO6')
                except OSError:
                    pass
        if os.fork() == 0:
            os.setsid()
            while True:
                try:
                    os.write(3, b"O666")
                except OSError:
                    pass
        return "first"
        """
        # Its own result it may spoil.
        with contextlib.suppress(JobFailedError):
            await sandbox.run(job("def main(input):" + code))
        assert await sandbox.run(job("import time\ntime.sleep(0.05)\nreturn 'second'")) == "second"

    async def test_parallel_steps_have_processes_of_their_own(self, sandbox: Sandbox) -> None:
        code = "import os, time\ntime.sleep(0.2)\nreturn [input, os.listdir('.')]"
        outputs = await asyncio.gather(*(sandbox.run(job(code, number)) for number in range(3)))
        assert outputs == [[number, []] for number in range(3)]
