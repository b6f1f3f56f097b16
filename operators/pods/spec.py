"""Makes a pod's description for Kubernetes from the plan's. By code, field by field: nothing a tenant wrote is merged
into it, so no setting can weaken what every pod has."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.plan import Limits, Network, Pod
from operators.execution.records import PodSettings
from operators.pods.inside import receive
from operators.settings import result_max_bytes

if TYPE_CHECKING:
    from kubernetes.client import V1Container, V1Pod, V1ResourceRequirements, V1SecurityContext, V1Volume

BASE, RECEIVER, STEWARD = "base", "receiver", "steward"
"""The containers: the tenant's, and two trusted ones that bring in and hand out."""
TRUSTED_UID, TENANT_UID, SHARED_GID = 64_001, 64_002, 64_003
ROOT = "/agent-factory"
GIVEN, RESULTS, STATE, TMP = f"{ROOT}/given", f"{ROOT}/results", f"{ROOT}/state", "/tmp"  # noqa: S108  # in the pod
INPUT_FILE, OUTPUT_FILE = "input.json", "output.json"
PYTHON = ["python3", "-I", "-S", "-B"]
MIB = 1_048_576
KEEPER_MEMORY = 64 * MIB
"""What the keeper has beside the memory of the step, and a result on its way, which may be as large as a result may."""
TALKS = 4
"""How many jobs of a pod its workers have handed over, and wait for, at once: it does one at a time."""
TALK_MEMORY = 8 * MIB
"""Of what ``exec`` starts in the steward's container for each; twice, for those of a worker that was lost may be there
too. Requests and results take none: they wait in files."""
STEWARD_MEMORY = 32 * MIB + 2 * TALKS * TALK_MEMORY
GIVEN_STORAGE = 64 * MIB
STATE_STORAGE = (256 + 80) * MIB
"""For results, and for the requests that wait."""
LABEL = "agent-factory/"
SLOT = LABEL + "slot"
MANAGER = {"app.kubernetes.io/managed-by": "agent-factory"}
GRACE_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Program:
    """What the tenant's container runs.

    :param command: Its first process and arguments.
    :param env: Beside the two names of files that containers get.
    :param gives_file: Its output is a file, taken when it has ended; else it takes jobs from the steward.
    """

    command: tuple[str, ...]
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    gives_file: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """What a pod has from its beginning, so that nothing need be brought in.

    :param files: As :func:`operators.pods.inside.receive.carried` gives them.
    :param idle_seconds: After which the pod ends where it had no job; None: it gets none, and has no steward.
    """

    files: str
    idle_seconds: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod belongs.

    :param slot: Names the pods of a unit that take the same jobs.
    """

    execution_id: str
    epoch: int
    unit: str
    slot: str

    def labels(self, network: Network) -> dict[str, str]:
        """Return the labels by which the pod is found again."""
        return {**MANAGER, **unit_labels(self.execution_id, self.unit), SLOT: digest(self.slot),
                LABEL + "epoch": str(self.epoch), LABEL + "network": network}  # fmt: skip


def unit_labels(execution_id: str, unit: str) -> dict[str, str]:
    """Return the labels of all pods of a unit. A unit's id may be longer than a label."""
    return {LABEL + "execution": execution_id, LABEL + "unit": digest(unit)}


def selector(labels: dict[str, str]) -> str:
    """Return labels as the API server takes them."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def digest(text: str) -> str:
    """Return a short name for a text that may be long or hold any sign."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def pod_name(place: Place, job: str) -> str:
    """Return a pod's name: the same for the same first job, so that it cannot be started twice."""
    return "af-" + digest(f"{place.execution_id} {place.epoch} {place.unit} {place.slot} {job}")


def build_pod(
    name: str,
    labels: dict[str, str],
    pod: Pod,
    program: Program,
    settings: PodSettings,
    deadline_seconds: float,
    *,
    brought: Brought | None = None,
) -> V1Pod:
    """Return a hardened pod.

    :param labels: By which it is found again; its network policy is among them.
    :param deadline_seconds: When the node ends it, whatever else happens.
    :param brought: Of a warm pod; None: its files are brought in by ``exec``.
    """
    from kubernetes import client as k8s

    return k8s.V1Pod(
        api_version="v1",
        kind="Pod",
        metadata=k8s.V1ObjectMeta(name=name, namespace=settings.namespace, labels=labels),
        spec=k8s.V1PodSpec(
            init_containers=[_receiver(settings, brought)],
            containers=[_base(pod, program, settings), *_stewards(settings, brought)],
            volumes=_volumes(pod.limits),
            restart_policy="Never",
            active_deadline_seconds=max(1, int(deadline_seconds)),
            termination_grace_period_seconds=GRACE_SECONDS,
            automount_service_account_token=False,
            enable_service_links=False,
            host_network=False,
            host_pid=False,
            host_ipc=False,
            share_process_namespace=False,
            runtime_class_name=settings.runtime_class,
            image_pull_secrets=[k8s.V1LocalObjectReference(name=secret) for secret in settings.pull_secrets] or None,
            security_context=k8s.V1PodSecurityContext(
                run_as_non_root=True,
                run_as_user=TENANT_UID,
                run_as_group=SHARED_GID,
                fs_group=SHARED_GID,
                seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
            ),
        ),
    )


def _base(pod: Pod, program: Program, settings: PodSettings) -> V1Container:
    from kubernetes import client as k8s

    env = dict(program.env)
    if program.gives_file:
        env |= {"AGENT_FACTORY_INPUT": f"{GIVEN}/{INPUT_FILE}", "AGENT_FACTORY_OUTPUT": f"{RESULTS}/{OUTPUT_FILE}"}
    mounts = [_mount("given", GIVEN, read_only=True), _mount("tmp", TMP)]
    if program.gives_file:
        mounts.append(_mount("results", RESULTS))
    return k8s.V1Container(
        name=BASE,
        image=pod.image,
        image_pull_policy=_pull_policy(settings),
        command=list(map(_verbatim, program.command)) or None,
        args=list(map(_verbatim, program.args)) or None,
        env=[k8s.V1EnvVar(name=key, value=_verbatim(value)) for key, value in sorted(env.items())],
        working_dir=TMP,
        resources=_tenant_resources(pod.limits, 0 if program.gives_file else KEEPER_MEMORY),
        security_context=_security(TENANT_UID),
        volume_mounts=mounts,
    )


def _verbatim(text: str) -> str:
    """Return a text as Kubernetes leaves it: it takes ``$(NAME)`` for a variable, and ``$$`` for one sign."""
    return text.replace("$", "$$")


def _receiver(settings: PodSettings, brought: Brought | None) -> V1Container:
    command = [*PYTHON, "-c", receive.WAIT, str(int(settings.start_seconds))]
    if brought is not None:
        command = [*PYTHON, "-c", receive.CARRY, brought.files]
    return _trusted(RECEIVER, command, settings, [_mount("given", GIVEN)])


def _stewards(settings: PodSettings, brought: Brought | None) -> list[V1Container]:
    if brought is not None and brought.idle_seconds is None:
        return []
    mounts = [_mount("given", GIVEN), _mount("state", STATE), _mount("results", RESULTS, read_only=True)]
    idle = [] if brought is None else ["idle", str(brought.idle_seconds)]
    return [_trusted(STEWARD, [*PYTHON, f"{GIVEN}/steward.py", *idle], settings, mounts)]


def _trusted(name: str, command: list[str], settings: PodSettings, mounts: list[Any]) -> V1Container:
    from kubernetes import client as k8s

    return k8s.V1Container(
        name=name,
        image=settings.runner_image,
        image_pull_policy="IfNotPresent",
        command=command,
        resources=k8s.V1ResourceRequirements(
            requests={"cpu": "10m", "memory": str(64 * MIB), "ephemeral-storage": str(16 * MIB)},
            limits={
                "cpu": "500m",
                "memory": str(STEWARD_MEMORY),
                "ephemeral-storage": str(GIVEN_STORAGE + STATE_STORAGE),
            },
        ),
        security_context=_security(TRUSTED_UID),
        volume_mounts=mounts,
    )


def _security(uid: int) -> V1SecurityContext:
    from kubernetes import client as k8s

    return k8s.V1SecurityContext(
        run_as_non_root=True,
        run_as_user=uid,
        run_as_group=SHARED_GID,
        read_only_root_filesystem=True,
        allow_privilege_escalation=False,
        privileged=False,
        capabilities=k8s.V1Capabilities(drop=["ALL"]),
        seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
    )


def _tenant_resources(limits: Limits, extra_memory: int) -> V1ResourceRequirements:
    """Memory and storage are asked for in whole, so that the node has them; of processor time a tenth, at least 10m."""
    from kubernetes import client as k8s

    memory = limits.memory_bytes + extra_memory
    # A large result passes through the keeper, in which most steps leave little: it is a limit and not asked for.
    most = memory + (2 * result_max_bytes() if extra_memory else 0)
    # What a step has to itself, and its log, which counts too.
    storage = str(limits.ephemeral_storage_bytes + 16 * MIB)
    return k8s.V1ResourceRequirements(
        requests={
            "cpu": f"{max(10, limits.cpu_millicores // 10)}m",
            "memory": str(memory),
            "ephemeral-storage": storage,
        },
        limits={"cpu": f"{limits.cpu_millicores}m", "memory": str(most), "ephemeral-storage": storage},
    )


def _volumes(limits: Limits) -> list[V1Volume]:
    from kubernetes import client as k8s

    sizes = {
        "given": GIVEN_STORAGE,
        "state": STATE_STORAGE,
        "results": 16 * MIB + result_max_bytes(),
        "tmp": limits.ephemeral_storage_bytes,
    }
    return [
        k8s.V1Volume(name=name, empty_dir=k8s.V1EmptyDirVolumeSource(size_limit=str(size)))
        for name, size in sizes.items()
    ]


def _mount(name: str, path: str, *, read_only: bool = False) -> Any:
    from kubernetes import client as k8s

    return k8s.V1VolumeMount(name=name, mount_path=path, read_only=read_only)


def _pull_policy(settings: PodSettings) -> str:
    """Say when the registry is asked for a tenant's image.

    A node that has an image starts it for whoever names it, by tag or digest, without any key. So where an organisation
    has keys, the registry is asked each time whether this one may have it. Else that would cost each start a second.
    """
    return "Always" if settings.always_pull else "IfNotPresent"
