"""Sandboxes of agents on a cluster: what commands can do in them, what ends them, and what they are refused."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from compiler.model import ResourceLimits
from compiler.planning import limits_of
from operators.pods import sandbox as sandbox_module
from operators.pods.cluster import Cluster
from operators.pods.sandbox import SANDBOX, PodSandboxes, SandboxFailedError, TooLargeError
from tests.kubernetes.cluster import IMAGE, OTHER, TestCluster
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]


def sandboxes_of(cluster: TestCluster, **options: Any) -> PodSandboxes:
    """The test cluster's network enforces nothing, so the sandboxes are told that it does, unless a test asks."""
    settings = cluster.pod_settings()
    chosen = {"image": IMAGE, "limits": limits_of(None), "network_policies": "declared", **options}
    return PodSandboxes(Cluster(cluster.airflow_api(), settings.namespace), settings, "agent", "unit", **chosen)


@pytest.fixture(scope="module")
def sandboxes(cluster: TestCluster) -> PodSandboxes:
    return sandboxes_of(cluster)


@pytest.fixture(scope="module")
def sandbox(sandboxes: PodSandboxes, cluster: TestCluster) -> Iterator[str]:
    made = sandboxes.create(env={"GIVEN": "by the author"})
    yield made
    sandboxes.destroy(made)
    until(lambda: not cluster.pods("agent"))


def run(sandboxes: PodSandboxes, sandbox: str, command: str, *, timeout: float = 30, limit: int = 10_000) -> Any:
    return sandboxes.run(sandbox, command, timeout=timeout, max_output_bytes=limit)


class TestCommands:
    def test_output_and_exit_code(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        result = run(sandboxes, sandbox, "echo out; echo error >&2; python3 -c 'print(6 * 7)'; exit 3")
        assert (result.exit_code, result.stdout, result.stderr) == (3, b"out\n42\n", b"error\n")
        assert [result.timed_out, result.stdout_cut, result.stderr_cut, result.ended_sandbox] == [False] * 4

    def test_it_has_its_environment_and_nothing_of_the_clusters(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        lines = run(sandboxes, sandbox, "env | sort; pwd; id -u").stdout.decode().splitlines()
        names = {line.partition("=")[0] for line in lines}
        assert "GIVEN=by the author" in lines
        assert not [name for name in names if name.startswith("KUBERNETES")]
        assert lines[-2:] == ["/tmp", "64002"]

    def test_files_stay_and_processes_do_not(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        run(sandboxes, sandbox, "echo kept >kept; (setsid sleep 1000 &) ; sleep 1000 &")
        listed = run(sandboxes, sandbox, "cat kept; cat /proc/[0-9]*/comm").stdout
        assert listed.startswith(b"kept\n")
        assert b"python3" in listed
        assert b"sleep" not in listed

    def test_the_end_of_a_long_output_is_kept(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        result = run(sandboxes, sandbox, "yes | head -c 9000000; echo end; echo short >&2", limit=1000)
        assert (len(result.stdout), result.stdout[-4:], result.stdout_cut) == (1000, b"end\n", True)
        assert (result.stderr, result.stderr_cut) == (b"short\n", False)

    def test_a_time_out_ends_the_command_and_leaves_the_files(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        deaf = "import signal, time; signal.signal(15, lambda *a: 0); time.sleep(60)"
        result = run(sandboxes, sandbox, f"echo begun; echo file >before; python3 -c '{deaf}'", timeout=1)
        assert (result.timed_out, result.ended_sandbox, result.stdout) == (True, False, b"begun\n")
        assert run(sandboxes, sandbox, "cat before").stdout == b"file\n"

    def test_many_at_once_take_turns(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        with ThreadPoolExecutor(4) as threads:
            results = list(threads.map(lambda n: run(sandboxes, sandbox, f"sleep 0.2; echo {n}"), range(4)))
        assert [result.stdout for result in results] == [b"0\n", b"1\n", b"2\n", b"3\n"]

    def test_who_ends_what_runs_it_has_no_result(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        result = run(sandboxes, sandbox, "kill -9 $PPID")
        assert (result.exit_code, result.ended_sandbox) == (137, False)
        assert run(sandboxes, sandbox, "echo again").stdout == b"again\n"

    def test_a_forged_answer_is_bounded(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        """A command can write into its own answer; it harms nobody but the model that wrote it."""
        forge = 'printf \'{"size": 99999999999, "out": 1}\\n\' >/proc/$PPID/fd/1; sleep 1'
        with pytest.raises(SandboxFailedError, match="nonsense"):
            run(sandboxes, sandbox, forge)
        assert run(sandboxes, sandbox, "echo fine").stdout == b"fine\n"
        with pytest.raises(SandboxFailedError, match="nonsense"):
            run(sandboxes, sandbox, "yes >/proc/$PPID/fd/1", timeout=5)
        assert run(sandboxes, sandbox, "echo fine").stdout == b"fine\n"

    def test_nothing_else_can_be_reached(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        tries = {
            "root": "touch /x", "programs": "touch /agent-factory/given/x", "token": "ls /run/secrets/kubernetes.io",
            "become root": "python3 -c 'import os; os.setuid(0)'", "namespace": "unshare -n true",
            "first process": "cat /proc/1/mem", "mount": "mount -t tmpfs none /tmp",
        }  # fmt: skip
        codes = {name: run(sandboxes, sandbox, command).exit_code for name, command in tries.items()}
        assert all(codes.values()), codes
        run(sandboxes, sandbox, "kill -9 1; kill -9 -1")
        assert run(sandboxes, sandbox, "echo stands").stdout == b"stands\n"

    def test_what_cannot_be_passed_on_is_refused(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        for command in ("echo \x00", "echo \ud800"):
            with pytest.raises(SandboxFailedError, match="cannot be passed on"):
                run(sandboxes, sandbox, command)


class TestFiles:
    def test_there_and_back(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        content = bytes(range(256)) * 12_000
        sandboxes.write(sandbox, "some/where/file.bin", content)
        assert sandboxes.read(sandbox, "some/where/file.bin", max_bytes=len(content)) == content
        assert sandboxes.read(sandbox, "/tmp/some/where/file.bin", max_bytes=5_000_000) == content
        assert sandboxes.entries(sandbox, "some") == [("where", True)]
        run(sandboxes, sandbox, "touch 'some/where/a\nb'")
        assert sandboxes.entries(sandbox, "some/where") == [("a\nb", False), ("file.bin", False)]

    def test_limits(self, sandboxes: PodSandboxes, sandbox: str) -> None:
        sandboxes.write(sandbox, "eleven", b"x" * 11)
        with pytest.raises(TooLargeError) as refused:
            sandboxes.read(sandbox, "eleven", max_bytes=10)
        assert refused.value.size == 11
        with pytest.raises(SandboxFailedError, match="at most"):
            sandboxes.write(sandbox, "huge", b"x" * 16_000_001)
        run(sandboxes, sandbox, "mkfifo pipe; ln -s /dev/zero endless")
        for path in ("pipe", "endless", "some-folder-that-is-none", ".", "/proc/1/mem", "/agent-factory/given/.."):
            with pytest.raises(SandboxFailedError):
                sandboxes.read(sandbox, path, max_bytes=10)
        with pytest.raises(SandboxFailedError):
            sandboxes.write(sandbox, "/x", b"")
        # One file at most as large as the storage, at once and not when the node looks.
        # Sparse, or the node might look meanwhile.
        last, behind = (f"printf x | dd of=big bs=1 conv=notrunc seek={seek}" for seek in (268_435_455, 268_435_456))
        big = run(sandboxes, sandbox, f"{last}; {behind}; wc -c <big; rm big", timeout=60)
        assert int(big.stdout) == 268_435_456


class TestEnds:
    def test_memory(self, cluster: TestCluster) -> None:
        sandboxes = sandboxes_of(cluster, limits=limits_of(ResourceLimits(memory="64Mi")))
        sandbox = sandboxes.create()
        result = run(sandboxes, sandbox, "python3 -c 'x = bytearray(900_000_000)'; echo after $?")
        assert result.exit_code == 137 or b"after 137" in result.stdout or b"MemoryError" in result.stderr
        sandboxes.destroy(sandbox)

    def test_its_life_is_bounded_and_it_can_be_destroyed_twice(self, cluster: TestCluster) -> None:
        sandboxes = sandboxes_of(cluster, lifetime_seconds=8)
        sandbox = sandboxes.create()
        result = run(sandboxes, sandbox, "sleep 60", timeout=60)
        assert (result.exit_code, result.ended_sandbox) == (137, True)
        with pytest.raises(SandboxFailedError) as gone:
            sandboxes.entries(sandbox, ".")
        assert gone.value.terminal
        for _ in range(2):
            sandboxes.destroy(sandbox)
        until(lambda: sandboxes.cluster.get(sandbox) is None)

    def test_one_that_was_removed_is_gone(self, cluster: TestCluster) -> None:
        sandboxes = sandboxes_of(cluster)
        sandbox = sandboxes.create()
        sandboxes.cluster.delete(sandbox)
        until(lambda: sandboxes.cluster.get(sandbox) is None)
        assert run(sandboxes, sandbox, "true").ended_sandbox
        with pytest.raises(SandboxFailedError, match="gone"):
            sandboxes.entries(sandbox, ".")

    def test_upkeep_sees_it_as_its_executions(self, cluster: TestCluster, sandbox: str) -> None:
        seen = {pod.name: pod.execution for pod in cluster.namespaces.pods("acme")}
        assert seen[sandbox] == "agent"


class TestRefused:
    def test_a_network_that_is_open(self, cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
        """This cluster enforces no NetworkPolicy, which a sandbox finds out; and it is gone then."""
        monkeypatch.setattr(sandbox_module, "BLOCKED_SECONDS", 1.0)
        before = {pod.metadata.name for pod in cluster.pods("agent")}
        with pytest.raises(SandboxFailedError, match="NetworkPolicy") as refused:
            sandboxes_of(cluster, network_policies="tried").create()
        assert refused.value.terminal
        assert {pod.metadata.name for pod in cluster.pods("agent")} == before

    def test_an_image_that_is_not_allowed_or_none(self, cluster: TestCluster) -> None:
        made = sandboxes_of(cluster)
        made.settings = made.settings.model_copy(update={"images": ["alpine:*"]})
        with pytest.raises(SandboxFailedError, match="not among the images"):
            made.create()
        with pytest.raises(SandboxFailedError, match="did not start"):
            sandboxes_of(cluster, image="localhost/none:1").create()

    def test_what_is_no_sandbox_of_ours(self, cluster: TestCluster, sandbox: str) -> None:
        """Another's handle is none here, in the same namespace and in another organisation's."""
        own, theirs = sandboxes_of(cluster), sandboxes_of(cluster)
        namespace = cluster.settings.namespace_of(OTHER)
        theirs.settings = theirs.settings.model_copy(update={"namespace": namespace})
        theirs.cluster = Cluster(cluster.airflow_api(), namespace)
        for stranger in (own, theirs):
            with pytest.raises(SandboxFailedError, match="none"):
                run(stranger, sandbox, "true")
        with pytest.raises(SandboxFailedError, match="did not start"):
            theirs.create()

    def test_what_is_no_sandbox_at_all_stays(self, cluster: TestCluster, sandboxes: PodSandboxes) -> None:
        spec = {"containers": [{"name": "base", "image": IMAGE, "command": ["sleep", "60"]}]}
        name, namespace = "no-sandbox", sandboxes.cluster.namespace
        cluster.api().create_namespaced_pod(namespace, {"metadata": {"name": name}, "spec": spec})
        sandboxes.destroy(name)
        found = sandboxes.cluster.get(name)
        assert found is not None
        assert found.metadata.deletion_timestamp is None
        assert SANDBOX not in (found.metadata.labels or {})
        sandboxes.cluster.delete(name)
