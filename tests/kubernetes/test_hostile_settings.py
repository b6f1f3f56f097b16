"""The settings that ``tests/operators/pods/test_hostile_settings.py`` calls harmless, on the cluster: what the API
server made of the pod, and what the container finds inside."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from kubernetes.client import ApiClient, V1Pod

from operators.execution.local import LocalResult, run_plan
from tests.kubernetes.cluster import IMAGE, TestCluster, compiled
from tests.operators.pods.test_hostile_settings import HARMLESS, check_container

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]

LOOK = """
import json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
def can(action):
    try:
        action()
    except OSError:
        return False
    return True
found = {
    "uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()),
    "capabilities": [status[name].strip("0") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "writes_root": can(lambda: open("/x", "w")), "writes_given": can(lambda: open("/agent-factory/given/x", "w")),
    "token": os.path.exists("/var/run/secrets/kubernetes.io"), "state": os.path.exists("/agent-factory/state"),
    "docker": os.path.exists("/var/run/docker.sock"), "disks": can(lambda: open("/dev/sda")),
    "writes_tmp": can(lambda: open("/tmp/x", "w")),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[:3],
}
json.dump(found, open(os.environ["AGENT_FACTORY_OUTPUT"], "w"))
"""
EXPECTED = {
    "uid": 64_002, "gid": 64_003, "groups": [64_003], "capabilities": ["", "", "", "", ""], "no_new_privileges": "1",
    "seccomp": "2", "writes_root": False, "writes_given": False, "token": False, "state": False, "docker": False,
    "disks": False, "writes_tmp": True, "processes": [1],
}  # fmt: skip
ASKS_FOR_TOO_MUCH = ("all that is permitted",)
"""The namespace's limits refuse it."""
LOOKS = [name for name, task in HARMLESS.items() if task["type"] == "container" and name not in ASKS_FOR_TOO_MUCH]


def looking(task: dict[str, Any]) -> dict[str, Any]:
    """Return a hostile task whose program looks around; its environment, arguments, input and network stay."""
    own = {**task, "runtime_image": IMAGE, "id": "a", "timeout": "50s"}
    args = [*task["config"]["command"], *task["config"].get("args", ())]
    own["config"] = {**task["config"], "command": ["/usr/local/bin/python3", "-I", "-c", LOOK], "args": args}
    return own


class Watched:
    """A run that keeps its pod as the API server has it."""

    def __init__(self, cluster: TestCluster) -> None:
        self._cluster = cluster
        self.pods: dict[str, V1Pod] = {}

    async def run(self, name: str, execution_id: str) -> LocalResult:
        pool = self._cluster.pool()
        # The pod stays, to be looked at.
        pool.journaled = lambda step_ids: None  # type: ignore[method-assign]
        try:
            plan = compiled(looking(HARMLESS[name]))
            return await run_plan(plan, execution_id=execution_id, pods=pool, input={})
        finally:
            [self.pods[name]] = self._cluster.pods(execution_id)
            await pool.remove(execution_id)


@pytest.fixture(scope="module")
def watched(cluster: TestCluster) -> Watched:
    return Watched(cluster)


@pytest.fixture(scope="module")
def results(cluster: TestCluster, watched: Watched) -> dict[str, LocalResult]:
    runs = {name: partial(watched.run, name, f"harmless-{number}") for number, name in enumerate(LOOKS)}
    return cluster.run_all(runs, at_once=6)


@pytest.mark.parametrize("name", LOOKS)
def test_harmless_inside(name: str, results: dict[str, LocalResult]) -> None:
    step = results[name].steps["a"]
    assert step.output == EXPECTED, step.error


@pytest.mark.parametrize("name", LOOKS)
def test_harmless_to_the_api_server(name: str, results: dict[str, LocalResult], watched: Watched) -> None:
    assert results[name].status == "success"
    spec: dict[str, Any] = ApiClient().sanitize_for_serialization(watched.pods[name])["spec"]
    assert not any(spec.get(field) for field in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"))
    assert spec["automountServiceAccountToken"] is False
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {"emptyDir"}
    assert spec["serviceAccountName"] == "default"
    for each in spec["initContainers"] + spec["containers"]:
        check_container(each)


def test_limits_that_are_permitted_and_huge_are_refused_by_the_namespace(cluster: TestCluster) -> None:
    [name] = ASKS_FOR_TOO_MUCH
    result = asyncio.run(cluster.run(compiled(looking(HARMLESS[name])), "huge", input={}))
    assert result.steps["a"].error is not None
    assert (result.steps["a"].error.code, result.steps["a"].attempts) == ("unschedulable", 1)
