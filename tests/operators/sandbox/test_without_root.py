"""The keeper as a user without rights: what still holds, with user namespaces and without them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.sandbox.sandbox import _START

PYTHON = "/usr/bin/python3"
NOBODY_ELSE = 23_456

pytestmark = [
    pytest.mark.unit,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
    pytest.mark.skipif(not os.path.exists(PYTHON), reason="needs a Python that every user may run"),
]


class Keeper:
    """A keeper program of another user, spoken to by its protocol."""

    def __init__(self, root: str, mode: str, uid: int = NOBODY_ELSE, *prefix: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, PYTHON, "-I", "-S", "-B", "-X", "utf8", "-c", _START, root, "none", mode],
            env={}, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=uid, group=uid, extra_groups=[],
        )  # fmt: skip
        self.protections, _ = self._read()

    def _read(self) -> tuple[dict[str, Any], bytes]:
        assert self.process.stdout is not None
        answer = json.loads(self.process.stdout.readline())
        return answer, self.process.stdout.read(answer["size"])

    def run(self, code: str, value: Any = None) -> tuple[str, Any]:
        """Return ``O`` or ``E`` with what the step wrote; where it wrote nothing, why it was ended."""
        source = "def main(input):\n" + textwrap.indent(code, "    ")
        payload = json.dumps({"code": source, "input": value}).encode()
        limits = {"timeout": 20, "cpu_seconds": 20, "memory": 1 << 28, "storage": 1 << 25, "result_limit": 1_000_000}
        request = {"language": "python", "node": None, **limits, "size": len(payload)}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n" + payload)
        self.process.stdin.flush()
        answer, result = self._read()
        return (result[:1].decode(), json.loads(result[1:])) if result else ("", answer["reason"])

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=20)


@pytest.fixture
def root() -> Iterator[str]:
    """A copy of the keeper's code that every user can read."""
    folder = tempfile.mkdtemp(prefix="keeper-", dir="/var/tmp")
    source = Path(__file__).parents[3] / "operators"
    target = Path(folder) / "operators"
    shutil.copytree(source / "sandbox", target / "sandbox", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "__init__.py", target)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=["namespaces", "plain"])
def keeper(request: pytest.FixtureRequest, root: str) -> Iterator[Keeper]:
    keeper = Keeper(root, request.param)
    if request.param == "namespaces" and not keeper.protections["namespaces"]:
        keeper.close()
        pytest.skip("this machine permits no user namespaces")
    yield keeper
    keeper.close()
    assert keeper.process.returncode == 0


def test_it_runs_steps_and_says_what_protects_them(keeper: Keeper) -> None:
    assert keeper.protections["uid"] is None
    assert keeper.protections["namespaces"] in ([], ["pid", "mount", "ipc", "net", "user"])
    assert keeper.run("return [input, __import__('os').getuid()]", 1) == ("O", [1, NOBODY_ELSE])


def test_no_result_is_forged_through_the_keeper(keeper: Keeper) -> None:
    """Its user is the step's, and still its descriptors and memory are closed."""
    for name in ("fd/1", "mem"):
        code = f"import os\nopen(f'/proc/{{os.getppid()}}/{name}', 'wb').write(b'x')"
        kind, error = keeper.run(code)
        assert (kind, "PermissionError" in error["message"]) == ("E", True)
    assert keeper.run("return 'mine'") == ("O", "mine")


def test_no_rights_come_back(keeper: Keeper) -> None:
    code = "import re\nreturn re.findall(r'Cap(?:Prm|Eff|Inh|Amb):\\t(\\w+)', open('/proc/self/status').read())"
    assert keeper.run(code) == ("O", ["0" * 16] * 4)


def test_a_fork_bomb(keeper: Keeper) -> None:
    kind, error = keeper.run("import os\nwhile True: os.fork()")
    assert (kind, error["code"]) == ("E", "too_many_processes")
    assert keeper.run("return 1") == ("O", 1)


def test_processes_of_the_same_user(keeper: Keeper) -> None:
    """Namespaces hide them; without namespaces nothing does, which the README says."""
    with subprocess.Popen(
        [PYTHON, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET": "s3cret"}, cwd="/",
        user=NOBODY_ELSE, group=NOBODY_ELSE, extra_groups=[],
    ) as bystander:  # fmt: skip
        kind, _ = keeper.run("import os\nreturn os.kill(input, 0)", bystander.pid)
        assert (kind == "E") == bool(keeper.protections["namespaces"])
        assert bystander.stdin is not None
        bystander.communicate(b"\n")


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
@pytest.mark.parametrize("mode", ["namespaces", "plain"])
def test_root_that_may_not_change_users(root: str, mode: str) -> None:
    """As in some containers: the kernel limits root's processes by nothing, so the keeper counts them."""
    keeper = Keeper(root, mode, 0, "/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all")
    assert keeper.protections["uid"] is None
    assert keeper.run("return input", 1) == ("O", 1)
    bomb = "import os, time\nfor _ in range(1000):\n    if os.fork() == 0: time.sleep(100)\ntime.sleep(100)"
    kind, found = keeper.run(bomb)
    assert (found if kind == "" else found["code"]) == "too_many_processes"
    assert keeper.run("return input", 2) == ("O", 2)
    keeper.close()
