"""Settings that mean harm: each is refused when the workflow is compiled, or changes nothing of what protects."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from kubernetes import client

from compiler import compile_workflow
from compiler.images import image_refusal
from operators.execution.records import PodSettings
from operators.pods.spec import BASE, RECEIVER, STEWARD, TENANT_UID, TRUSTED_UID, Place, build_pod, pod_name
from operators.steps.registry import IN_PODS

pytestmark = pytest.mark.unit

SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1", runtime_class="gvisor")
PLACE = Place("01990000-0000-7000-8000-000000000001", 0, "segment.a", "slot")
CONTAINER: dict[str, Any] = {"type": "container", "runtime_image": "alpine:3", "config": {"command": ["true"]}}
CODE: dict[str, Any] = {"type": "code", "code": "def main(input):\n    return 1\n", "config": {"language": "python"}}


def compilation_of(task: dict[str, Any]) -> Any:
    source = {
        "id": "w", "name": "W", "version": "1", "trigger": {"type": "manual", "config": {}},
        "tasks": [{"id": "a", **task}],
    }  # fmt: skip
    return compile_workflow(orjson.dumps(source), organization="acme", isolation="kubernetes")


def container(**config: Any) -> dict[str, Any]:
    return {**CONTAINER, "config": {**CONTAINER["config"], **config}}


def pod_of(task: dict[str, Any], settings: PodSettings = SETTINGS) -> dict[str, Any]:
    """Return the pod of a task, as it is sent to the API server."""
    compilation = compilation_of(task)
    assert compilation.plan is not None, compilation.diagnostics
    [step] = compilation.plan.steps
    job = IN_PODS[step.type].render(step, {"input": {}})
    pod = build_pod(pod_name(PLACE, "job"), PLACE.labels(job.pod.network), job.pod, job.program, settings, 600)
    sent: dict[str, Any] = client.ApiClient().sanitize_for_serialization(pod)
    return sent


REFUSED: dict[str, dict[str, Any]] = {
    "hostPath": {**CONTAINER, "volumes": [{"hostPath": {"path": "/"}}]},
    "hostPath in config": container(volumes=[{"hostPath": {"path": "/"}}]),
    "mounts": container(volume_mounts=[{"name": "state", "mountPath": "/x"}]),
    "privileged": container(privileged=True),
    "security context": container(security_context={"runAsUser": 0}),
    "securityContext": {**CONTAINER, "securityContext": {"privileged": True}},
    "capabilities": container(capabilities={"add": ["SYS_ADMIN"]}),
    "hostNetwork": container(hostNetwork=True),
    "hostPID": {**CONTAINER, "hostPID": True},
    "ports": container(ports=[{"containerPort": 80, "hostPort": 80}]),
    "service account": container(service_account_name="admin"),
    "serviceAccountName": {**CONTAINER, "serviceAccountName": "admin"},
    "namespace": container(namespace="agent-factory-other"),
    "labels": container(labels={"agent-factory/execution": "another"}),
    "annotations": container(annotations={"container.apparmor.security.beta.kubernetes.io/base": "unconfined"}),
    "name": container(name="af-another"),
    "init containers": container(init_containers=[{"image": "evil"}]),
    "sidecars": container(containers=[{"image": "evil"}]),
    "pod template": container(pod_template={"spec": {"hostNetwork": True}}),
    "full pod spec": {**CONTAINER, "full_pod_spec": {}},
    "runtime class": container(runtimeClassName="runc"),
    "env from secrets": container(env_from=[{"secretRef": {"name": "x"}}]),
    "env by reference": container(env={"X": {"valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}}),
    "env names with signs": container(env={"A=B": "x"}),
    "env names of ours": container(env={"AGENT_FACTORY_OUTPUT": "/etc/passwd"}),
    "env names of the cluster's": container(env={"KUBERNETES_SERVICE_HOST": "192.0.2.9"}),
    "env values with NUL": container(env={"A": "x\x00y"}),
    "command with NUL": container(command=["a\x00b"]),
    "Jinja in a command": container(command=["{{ macros.uuid.os.popen('id').read() }}"]),
    "Jinja in the environment": container(env={"A": "{{ conn.x.password }}"}),
    "an expression in a command": container(command=["sh", "-c", "echo {{ input.x }}"]),
    "node selector": container(node_selector={"kubernetes.io/hostname": "master"}),
    "tolerations": container(tolerations=[{"operator": "Exists"}]),
    "priority": container(priorityClassName="system-node-critical"),
    "network": container(network="host"),
    "huge memory": {**CONTAINER, "resource_limits": {"memory": "100Ti"}},
    "huge cpu": {**CONTAINER, "resource_limits": {"cpu": "1e9"}},
    "negative limits": {**CONTAINER, "resource_limits": {"memory": "-1"}},
    "limits that are expressions": {**CONTAINER, "resource_limits": {"memory": "{{ input.m }}"}},
    "other resources": {**CONTAINER, "resource_limits": {"nvidia.com/gpu": "8"}},
    "an image that is an expression": {**CONTAINER, "runtime_image": "{{ input.image }}"},
    "an image with a space": {**CONTAINER, "runtime_image": "alpine --privileged"},
    "an image with a line": {**CONTAINER, "runtime_image": "alpine\nhostNetwork: true"},
    "an image by URL": {**CONTAINER, "runtime_image": "https://evil.example/x"},
    "an image on the node": {**CONTAINER, "runtime_image": "file:///var/lib/x"},
    "an image with a way up": {**CONTAINER, "runtime_image": "registry.example/../x"},
    "no image": {"type": "container", "config": {}},
    "a time-out of years": {**CONTAINER, "timeout": "1000000d"},
}
HARMLESS: dict[str, dict[str, Any]] = {
    "LD_PRELOAD": container(env={"LD_PRELOAD": "/tmp/x.so"}),
    "proxies": container(env={"HTTP_PROXY": "http://evil.example", "no_proxy": "*"}),
    "PATH": container(env={"PATH": "/tmp"}),
    "PYTHONPATH": container(env={"PYTHONPATH": "/tmp", "PYTHONSTARTUP": "/tmp/x.py"}),
    "a shell": container(command=["sh", "-c", "id; cat /var/run/secrets/*"]),
    "substitution": container(command=["$(AGENT_FACTORY_INPUT)"], args=["$(hostname)", "`id`", "${X}"]),
    "Jinja in the code": {**CODE, "code": "def main(input):\n    return '{{ conn.x.password }}'\n"},
    "ends like a template": container(command=["/tmp/x.sh"], args=["x.sql"]),
    "YAML": container(args=["\nspec:\n  hostNetwork: true"]),
    "command by input": container(input={"x": "'; rm -rf / #"}),
    "code with a shell's signs": {**CODE, "code": "def main(input):\n    return '$(id)`id`'\n"},
    "egress": container(network="egress"),
    "all that is permitted": {**CONTAINER, "resource_limits": {"cpu": "64", "memory": "256Gi"}},
}


@pytest.mark.parametrize("task", REFUSED.values(), ids=REFUSED)
def test_refused(task: dict[str, Any]) -> None:
    compilation = compilation_of(task)
    assert compilation.plan is None
    assert [found for found in compilation.diagnostics if found.severity == "error"]


@pytest.mark.parametrize("task", [CODE, CONTAINER, *HARMLESS.values()], ids=["code", "container", *HARMLESS])
def test_harmless(task: dict[str, Any]) -> None:
    spec = pod_of(task)["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 600
    assert spec["runtimeClassName"] == "gvisor"
    assert (spec["automountServiceAccountToken"], spec["enableServiceLinks"]) == (False, False)
    assert not any(spec[name] for name in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"))
    assert {"serviceAccountName", "nodeName", "hostAliases", "tolerations", "priorityClassName"}.isdisjoint(spec)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {next(iter(set(volume) - {"name"})) for volume in spec["volumes"]} == {"emptyDir"}
    assert all(int(volume["emptyDir"]["sizeLimit"]) > 0 for volume in spec["volumes"])
    containers = spec["initContainers"] + spec["containers"]
    assert [each["name"] for each in containers] == [RECEIVER, BASE, STEWARD]
    for each in containers:
        check_container(each)
    base = containers[1]
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in base["volumeMounts"]}
    assert mounts.pop("given") is True
    assert "state" not in mounts


def check_container(each: dict[str, Any]) -> None:
    """Check what every container has."""
    assert each["securityContext"] == {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "privileged": False,
        "readOnlyRootFilesystem": True, "runAsGroup": 64_003, "runAsNonRoot": True,
        "runAsUser": TENANT_UID if each["name"] == BASE else TRUSTED_UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    for kind in ("requests", "limits"):
        assert set(each["resources"][kind]) == {"cpu", "memory", "ephemeral-storage"}
    assert {"ports", "envFrom", "lifecycle", "livenessProbe", "volumeDevices"}.isdisjoint(each)
    assert all(set(env) <= {"name", "value"} for env in each.get("env", []))


def test_the_trusted_containers_hold_nothing_of_the_tenants() -> None:
    marker = "tenant-marker-11aa"
    pod = pod_of(container(env={"A": marker}, args=[marker], input={"x": marker}))
    containers = {each["name"]: json.dumps(each) for each in pod["spec"]["initContainers"] + pod["spec"]["containers"]}
    assert marker in containers.pop(BASE)
    assert marker not in json.dumps([*containers.values(), pod["metadata"]])


def test_code_and_input_are_no_part_of_the_description() -> None:
    task = {**CODE, "code": "def main(input):\n    return 'tenant-marker'\n"}
    task["config"] = {"language": "python", "input": {"x": "tenant-marker"}}
    assert "tenant-marker" not in json.dumps(pod_of(task))
    script = {**CODE, "code": "function main() { return 'tenant-marker' }"}
    script["config"] = {"language": "javascript", "input": {"x": "tenant-marker"}}
    assert "tenant-marker" not in json.dumps(pod_of(script))


def test_what_kubernetes_would_rewrite_is_written_so_that_it_does_not() -> None:
    """It takes ``$(NAME)`` for a variable, and two signs for one."""
    texts = ["$(A)", "$$(A)", "$$", "$A", "$(NONE)", "a$"]
    base = pod_of(container(command=texts, args=texts, env={f"A{at}": text for at, text in enumerate(texts)}))
    [base] = [each for each in base["spec"]["containers"] if each["name"] == BASE]
    written = ["$$(A)", "$$$$(A)", "$$$$", "$$A", "$$(NONE)", "a$$"]
    assert (base["command"], base["args"]) == (written, written)
    assert [each["value"] for each in base["env"] if each["name"].startswith("A") and len(each["name"]) == 2] == written


@pytest.mark.parametrize(
    ("image", "allowed", "digests", "runs"),
    [
        ("python:3.11", None, False, True),
        ("python:3.11", ["python:3.*"], False, True),
        ("docker.io/library/python:3.11", ["python:3.*"], False, True),
        ("python", ["python:latest"], False, True),
        ("python:2.7", ["python:3.*"], False, False),
        # A registry with a port, not a tag.
        ("python:80/evil", ["python:*"], False, False),
        ("python.evil.example/python:3.11", ["python:*"], False, False),
        ("evil/python:3.11", ["python:*"], False, False),
        ("registry.example/acme/x:1", ["registry.example/acme/*"], False, True),
        ("registry.example/acmeevil/x:1", ["registry.example/acme/*"], False, False),
        ("registry.example.evil.example/acme/x:1", ["registry.example/acme/*"], False, False),
        ("PYTHON:3.11", ["python:*"], False, False),
        # A registry of one word, which container runtimes know by its capitals.
        ("FOO/bar", ["docker.io/*"], False, False),
        ("fOo/bar:1", ["docker.io/*", "docker.io/fOo/*"], False, False),
        ("FOO/bar:1", ["FOO/*"], False, True),
        ("foo/bar:1", ["docker.io/*"], False, True),
        ("python:3.11", [], False, False),
        ("python:3.11", None, True, False),
        ("python@sha256:" + "0" * 64, None, True, True),
        ("python:3.11@sha256:" + "0" * 64, ["python:3.11"], True, True),
        ("evil@sha256:" + "0" * 64, ["python:*"], True, False),
        ("python@sha256:" + "0" * 63, None, True, False),
    ],
)
def test_image_policies(image: str, allowed: list[str] | None, digests: bool, runs: bool) -> None:
    assert (image_refusal(image, allowed, digests=digests) is None) == runs
