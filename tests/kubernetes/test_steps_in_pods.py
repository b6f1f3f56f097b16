"""What steps in pods can do, and what hostile ones cannot."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from operators.execution.local import LocalResult
from tests.kubernetes.cluster import IMAGE, TestCluster, code, compiled

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

# Tries what could reach the next step's result, leaves what it can behind, and says what went wrong with each.
FORGER = """
import ctypes, glob, os, signal, socket, subprocess, sys, time

def main(input):
    said = {}
    def attempt(name, action):
        try:
            said[name] = repr(action())[:80]
        except BaseException as error:
            said[name] = type(error).__name__
    attempt('read keeper memory', lambda: open('/proc/1/mem', 'rb').read(1))
    attempt('list keeper files', lambda: os.listdir('/proc/1/fd'))
    attempt('read keeper environment', lambda: open('/proc/1/environ').read())
    attempt('write given', lambda: open('/agent-factory/given/x', 'w'))
    attempt('change runner', lambda: open('/agent-factory/given/serve.py', 'a'))
    attempt('read state', lambda: os.listdir('/agent-factory/state'))
    attempt('write results', lambda: open('/agent-factory/results/x', 'w'))
    attempt('write root', lambda: open('/x', 'w'))
    attempt('become root', lambda: os.setuid(0))
    attempt('token', lambda: os.listdir('/var/run/secrets/kubernetes.io'))
    attempt('environment', lambda: dict(os.environ))
    attempt('connect', lambda: socket.socket(socket.AF_UNIX).connect('/agent-factory/given/keeper.sock'))
    libc = ctypes.CDLL(None, use_errno=True)
    attempt('ptrace', lambda: libc.ptrace(16, 1, 0, 0))
    attempt('namespace', lambda: libc.unshare(0x10000000))
    attempt('mount', lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))
    attempt('descriptors', lambda: sorted(os.listdir('/proc/self/fd')))
    attempt('processes', lambda: len([name for name in os.listdir('/proc') if name.isdigit()]))
    attempt('kill keeper', lambda: os.kill(1, signal.SIGKILL))
    attempt('stop keeper', lambda: os.kill(1, signal.SIGSTOP))
    open('/tmp/left', 'w').write('left')
    open('/dev/shm/left', 'w').write('left')
    os.makedirs('/tmp/deep/er')
    os.chmod('/tmp/deep', 0)
    step = str(os.getpid())
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                for path in glob.glob('/proc/[0-9]*/fd/*'):
                    if path.split('/')[2] in (step, str(os.getpid())):
                        continue  # It can spoil its own result, of course.
                    try:
                        os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), b'O"forged"')
                    except OSError:
                        pass
        os._exit(0)
    print('O"forged"', flush=True)
    return said
"""
HONEST = """
import os, time

def main(input):
    time.sleep(0.5)
    return {'mine': True, 'left': os.listdir('/tmp') == [os.path.basename(os.getcwd())], 'shm': os.listdir('/dev/shm'),
            'processes': len([name for name in os.listdir('/proc') if name.isdigit()])}
"""
NUMBERS = "def main(input):\n    return input['n'] + 1\n"


def forger(cluster: TestCluster) -> Any:
    plan = compiled(code("forge", FORGER, next=["honest"]), code("honest", HONEST))
    assert [unit.steps for unit in plan.units] == [("forge", "honest")]
    return cluster.run(plan, "hostile-forger", input={})


def killer(cluster: TestCluster) -> Any:
    """The second step ends the keeper, which takes signals that it handles."""
    source = "import os, signal, time\n\n\ndef main(input):\n    os.kill(1, signal.SIGTERM)\n    time.sleep(30)\n"
    after = code("after", HONEST, join="any")
    plan = compiled(
        code("first", "def main(input):\n    return 'kept'\n", next=["kill"]),
        code("kill", source, on_error={"goto": "after"}),
        after,
    )
    return cluster.run(plan, "hostile-killer", input={})


def timing_out(cluster: TestCluster) -> Any:
    """Each step has a time of its own, and a retry goes on in the same pod."""
    source = "import time\n\n\ndef main(input):\n    time.sleep(30)\n"
    plan = compiled(
        code("first", NUMBERS, input={"n": 1}, next=["late"]),
        code("late", source, timeout="500ms", retry={"attempts": 2, "backoff_seconds": 0.01}, on_error="continue",
             next=["last"]),
        code("last", NUMBERS, input={"n": "{{ first.output }}"}),
    )  # fmt: skip
    return cluster.run(plan, "hostile-time-out", input={})


def containers(cluster: TestCluster) -> Any:
    script = (
        'import json, os, sys; given = json.load(open(os.environ["AGENT_FACTORY_INPUT"])); '
        'json.dump({"given": given, "argv": sys.argv[1:], "uid": os.getuid(), "env": os.environ["MODE"]}, '
        'open(os.environ["AGENT_FACTORY_OUTPUT"], "w"))'
    )
    task = {
        "id": "a", "type": "container", "runtime_image": IMAGE,
        "config": {"command": ["python3", "-c", script], "args": ["x; id", "$(id)"], "env": {"MODE": "quick"},
                   "input": {"text": "{{ input.text }}"}},
    }  # fmt: skip
    return cluster.run(compiled(task), "container", input={"text": "'; rm -rf / #\n{{ x }} \u00e9"})


def chain(cluster: TestCluster) -> Any:
    tasks = [
        code(f"s{number}", NUMBERS, input={"n": f"{{{{ s{number - 1}.output }}}}" if number else 0},
             **({"next": [f"s{number + 1}"]} if number < 39 else {}))
        for number in range(40)
    ]  # fmt: skip
    return cluster.run(compiled(*tasks), "chain", input={})


def big(cluster: TestCluster) -> Any:
    source = "def main(input):\n    return 'x' * input['n']\n"
    write = 'import json, os; json.dump(["y" * 1000] * 12_000, open(os.environ["AGENT_FACTORY_OUTPUT"], "w"))'
    more: dict[str, Any] = {"resource_limits": {"memory": "1Gi"}}
    return cluster.run(
        compiled(
            code("fits", source, input={"n": 63_999_998}, next=["too_big"], **more),
            code("too_big", source, input={"n": 63_999_999}, on_error="continue", next=["small"], **more),
            code("small", source, input={"n": 3}, **more),
            {
                "id": "file", "type": "container", "runtime_image": IMAGE, "next": ["read"],
                "config": {"command": ["python3", "-c", write]},
            },
            code("read", "def main(input):\n    return len(input['all'])\n", input={"all": "{{ file.output }}"}),
        ),
        "big",
        input={},
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(cluster: TestCluster) -> dict[str, LocalResult]:
    makers = (forger, killer, timing_out, containers, chain, big)
    return cluster.run_all({maker.__name__: partial(maker, cluster) for maker in makers}, at_once=6)


class TestHostileSteps:
    def test_nothing_of_the_keeper_or_the_pod_can_be_reached(self, results: dict[str, LocalResult]) -> None:
        said = results["forger"].steps["forge"].output
        assert isinstance(said, dict)
        refused = ("PermissionError", "FileNotFoundError", "OSError", "ConnectionRefusedError", "NotADirectoryError")
        for name in (
            "read keeper memory", "list keeper files", "read keeper environment", "write given", "change runner",
            "read state", "write results", "write root", "become root", "token", "connect",
        ):  # fmt: skip
            assert said[name] in refused, (name, said[name])
        assert [said[name] for name in ("ptrace", "namespace", "mount", "environment")] == ["-1", "-1", "-1", "{}"]
        # Its own, the log's two, the result's pipe and the listing.
        assert said["descriptors"] == "['0', '1', '2', '3', '4']"
        assert said["processes"] == "2"

    def test_the_next_step_has_its_own_result_and_a_clean_place(self, results: dict[str, LocalResult]) -> None:
        expected = {"mine": True, "left": True, "shm": [], "processes": 2}
        assert results["forger"].steps["honest"].output == expected

    def test_who_ends_the_keeper_fails_itself(self, results: dict[str, LocalResult]) -> None:
        steps = results["killer"].steps
        assert (steps["first"].output, steps["first"].status) == ("kept", "success")
        assert steps["kill"].error is not None
        assert steps["kill"].error.code == "killed"
        assert steps["after"].status == "success"

    def test_each_step_has_its_own_time(self, results: dict[str, LocalResult]) -> None:
        steps = results["timing_out"].steps
        assert steps["late"].error is not None
        assert (steps["late"].error.code, steps["late"].attempts, steps["last"].output) == ("timeout", 2, 3)
        # It went on in the pod of the first.
        assert steps["last"].timing is not None
        assert steps["last"].timing.start == 0


class TestResults:
    def test_a_container_gets_a_file_and_gives_one(self, results: dict[str, LocalResult]) -> None:
        assert results["containers"].steps["a"].output == {
            "given": {"text": "'; rm -rf / #\n{{ x }} \u00e9"}, "argv": ["x; id", "$(id)"], "uid": 64_002,
            "env": "quick",
        }  # fmt: skip

    def test_forty_steps_share_a_pod(self, results: dict[str, LocalResult]) -> None:
        steps = results["chain"].steps
        assert steps["s39"].output == 40
        assert [step_id for step_id, step in steps.items() if step.timing is not None and step.timing.start] == ["s0"]

    def test_a_result_of_64_megabytes_fits_and_more_does_not(self, results: dict[str, LocalResult]) -> None:
        steps = results["big"].steps
        assert (steps["fits"].status, steps["too_big"].status) == ("success", "failed"), steps["fits"].error
        assert steps["fits"].output == "x" * 63_999_998
        assert steps["too_big"].error is not None
        assert steps["too_big"].error.code == "output_too_large"
        # The pod is none the worse.
        assert steps["small"].output == "xxx"
        assert steps["small"].timing is not None
        assert steps["small"].timing.start == 0

    def test_a_large_file_is_read_by_the_next_step(self, results: dict[str, LocalResult]) -> None:
        steps = results["big"].steps
        assert steps["file"].error is None
        assert steps["read"].output == 12_000


def test_javascript(cluster: TestCluster, node_image: str) -> None:
    source = "async function main(input) { return {n: input.n * 2, v: typeof require}; }"
    throwing = "function main() {\n  throw new TypeError('no');\n}"
    plan = compiled(
        {"id": "a", "type": "code", "code": source, "config": {"language": "javascript", "input": {"n": 21}},
         "next": ["b"]},
        {"id": "b", "type": "code", "code": throwing, "config": {"language": "javascript"}, "on_error": "continue"},
    )  # fmt: skip
    assert [unit.steps for unit in plan.units] == [("a",), ("b",)]
    result = asyncio.run(cluster.run(plan, "javascript", input={}))
    assert result.steps["a"].output == {"n": 42, "v": "undefined"}, result.steps["a"].error
    assert result.steps["b"].error is not None
    assert (result.steps["b"].error.code, result.steps["b"].error.message) == (
        "code_error", "TypeError: no (line 2 of the code)"
    )  # fmt: skip


async def test_what_was_brought_in_is_not_brought_in_twice(cluster: TestCluster) -> None:
    """A second look by another process finds the running job, and a pod starts once."""
    source = "import time\n\n\ndef main(input):\n    time.sleep(3)\n    return time.time()\n"
    plan = compiled(code("a", source))
    first = asyncio.create_task(cluster.run(plan, "twice", cluster.pool(), input={}))
    while not any(pod.status.phase == "Running" for pod in cluster.pods("twice")):
        await asyncio.sleep(0.1)
    second = await cluster.run(plan, "twice", cluster.pool(), input={})
    assert (await first).output == second.output
