"""Warm pods: started before anybody needs them, each for one execution. See ``docs/decisions/0035-warm-pods.md``.

A warm pod is the pod of Python steps with our own programs in it and no job. It is idle while it has the label
``POOL``, a digest of everything that it was made from: so a pod of an older kind fits nobody and is replaced.
"""

from __future__ import annotations

import contextlib
import json
import time
from datetime import UTC, datetime
from functools import lru_cache
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from compiler.images import canonical_image, image_refusal
from compiler.plan import Pod
from operators.execution.records import PodSettings, WarmPods
from operators.pods.cluster import Cluster, ClusterError
from operators.pods.failures import PodFailedError, container
from operators.pods.inside import receive
from operators.pods.jobs import KEEPER, PodJob, programs
from operators.pods.spec import BASE, LABEL, MANAGER, STEWARD, Brought, Place, build_pod, digest, selector
from operators.pods.time import MAXIMUM_SECONDS

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

POOL = LABEL + "pool"
"""Label of idle pods: which kind they are."""
CLAIMED = LABEL + "claimed-for"
"""Annotation: the job that a pod was claimed for, or started for where it might have been claimed."""
CLAIMED_AT = LABEL + "claimed-at"
"""Annotation of claimed pods: when, in seconds since 1970."""
SETTLED = LABEL + "settled"
"""Annotation: no other pod is the place's."""
IDLE_SECONDS = 3600
"""How old an idle pod gets: its image's tag may name another image by then."""
ORPHAN_SECONDS = IDLE_SECONDS + 1800
"""After which one ends itself, should nobody keep it any more."""


def kind_for(job: PodJob, settings: PodSettings) -> WarmPods | None:
    """Return the organisation's kind of warm pods that a job could be done in."""
    if job.program != KEEPER:
        return None
    image = canonical_image(job.pod.image)
    for kind in settings.warm:
        if (canonical_image(kind.image), kind.network, kind.limits) == (image, job.pod.network, job.pod.limits):
            return kind
    return None


def warm_pod(kind: WarmPods, settings: PodSettings) -> V1Pod:
    """Return an idle pod. Its deadline is the longest there is: a running pod's can be brought forward only."""
    pod = Pod(image=kind.image, network=kind.network, limits=kind.limits, timeout_seconds=0)
    labels = {**MANAGER, LABEL + "network": kind.network}
    brought = Brought(_carried(), ORPHAN_SECONDS)
    made = build_pod("", labels, pod, KEEPER, settings, MAXIMUM_SECONDS + ORPHAN_SECONDS, brought=brought)
    made.metadata.labels[POOL] = digest(json.dumps([made.spec.to_dict(), labels], sort_keys=True))
    made.metadata.name = f"af-warm-{token_hex(12)}"
    return made


def idle_pods(cluster: Cluster, pool: str | None = None) -> list[V1Pod]:
    """Return idle pods, of one kind or of all."""
    labels = selector(MANAGER | ({} if pool is None else {POOL: pool}))
    found = cluster.find(labels if pool is not None else f"{labels},{POOL}")
    return [pod for pod in found if pod.metadata.deletion_timestamp is None]


def claim(
    cluster: Cluster, kind: WarmPods, settings: PodSettings, place: Place, job: str, seconds: float
) -> V1Pod | None:
    """Make an idle pod the place's own and return it; None where there is none.

    No two get the same: it is changed only as it was read.

    :param job: Id of the job that it is claimed for.
    :param seconds: How long it may be needed.
    """
    made = warm_pod(kind, settings)
    pods = idle_pods(cluster, made.metadata.labels[POOL])
    # Those who claim at the same time begin at different ones.
    for pod in sorted(filter(is_ready, pods), key=lambda pod: digest(pod.metadata.name + job)):
        labels = {**place.labels(kind.network), POOL: None}
        annotations = {CLAIMED: job, CLAIMED_AT: f"{time.time():.3f}"}
        patch = {
            "metadata": {"labels": labels, "annotations": annotations},
            "spec": {"activeDeadlineSeconds": int(min(MAXIMUM_SECONDS, seconds) + age(pod)) + 1},
        }
        claimed = cluster.change(pod, patch)
        if claimed is not None:
            return claimed
    return None


def settle(cluster: Cluster, labels: dict[str, str]) -> V1Pod | None:
    """Return the one pod of a place for which several may have been claimed or started, by workers that did not know
    of each other; remove the others. None: there is none.

    :param labels: The place's.

    A pod is settled once, and no longer where somebody removed it; whoever wants to settle one has removed all others
    that are not settled, each only as it was read. So of two there is one at most: the later claimed of two sees the
    other, and whoever settles it must have seen that the other is gone.
    """
    while True:
        found = cluster.find(selector(labels))
        pods = [pod for pod in found if pod.metadata.deletion_timestamp is None and CLAIMED in notes(pod)]
        if not pods:
            return None
        chosen = min(pods, key=lambda pod: (not is_settled(pod), pod.metadata.name))
        others = [pod for pod in pods if pod is not chosen and not is_settled(pod)]
        if not all(cluster.delete_unchanged(pod) for pod in others):
            continue
        settled = chosen if is_settled(chosen) else cluster.change(chosen, {"metadata": {"annotations": {SETTLED: ""}}})
        if settled is not None:
            return settled


def refill(cluster: Cluster, kind: WarmPods, settings: PodSettings, *, most: int) -> int:
    """Start idle pods up to the size of their kind; return how many.

    :param most: How many at most: whoever took one starts one.
    :raises PodFailedError: The quota has no room.
    :raises ClusterError: The API server is away.
    """
    pool = warm_pod(kind, settings).metadata.labels[POOL]
    missing = min(most, kind.size - len(idle_pods(cluster, pool)))
    for _ in range(missing):
        cluster.create(warm_pod(kind, settings))
    return max(0, missing)


def replace(cluster: Cluster, kind: WarmPods, settings: PodSettings) -> None:
    """Start an idle pod in the stead of one that was claimed; where that fails, upkeep does it."""
    with contextlib.suppress(PodFailedError, ClusterError):
        refill(cluster, kind, settings, most=1)


def keep(cluster: Cluster, settings: PodSettings) -> dict[str, int]:
    """Remove idle pods that are of no use any more, and start those that are missing; return how many.

    :raises ClusterError: The API server is away.
    """
    counts = {"warm_removed": 0, "warm_started": 0, "warm_refused": 0}
    # A policy of images may have changed since somebody asked for them.
    kinds = [each for each in settings.warm if not image_refusal(each.image, settings.images, digests=settings.digests)]
    sizes = {warm_pod(kind, settings).metadata.labels[POOL]: kind.size for kind in kinds}
    for pod in sorted(idle_pods(cluster), key=lambda pod: (not is_ready(pod), age(pod))):
        pool = pod.metadata.labels[POOL]
        if sizes.get(pool, 0) > 0 and _is_of_use(pod, settings):
            sizes[pool] -= 1
        elif cluster.delete_unchanged(pod):
            counts["warm_removed"] += 1
    for kind in kinds:
        try:
            counts["warm_started"] += refill(cluster, kind, settings, most=kind.size)
        except PodFailedError:
            counts["warm_refused"] += 1
    return counts


def make_room(cluster: Cluster) -> list[str]:
    """Remove all idle pods, for the quota has no room for one that is needed; return the names of all pods that are on
    their way out."""
    removed = {pod.metadata.name for pod in idle_pods(cluster) if cluster.delete_unchanged(pod)}
    pods = cluster.find(selector(MANAGER))
    return sorted(removed | {pod.metadata.name for pod in pods if pod.metadata.deletion_timestamp is not None})


def notes(pod: V1Pod) -> dict[str, str]:
    """Return a pod's annotations."""
    return pod.metadata.annotations or {}


def is_settled(pod: V1Pod) -> bool:
    """Tell whether a pod is the only one of its place."""
    return SETTLED in notes(pod)


def needs_settling(pod: V1Pod) -> bool:
    """Tell whether there may be another pod of the same place."""
    return CLAIMED in notes(pod) and not is_settled(pod)


def claimed_at(pod: V1Pod) -> float | None:
    """Return when a pod was claimed; None for one that was started for its job."""
    text = notes(pod).get(CLAIMED_AT)
    return None if text is None else float(text)


def age(pod: V1Pod) -> float:
    """Return a pod's age in seconds."""
    return max(0.0, float((datetime.now(UTC) - pod.metadata.creation_timestamp).total_seconds()))


@lru_cache(maxsize=1)
def _carried() -> str:
    return receive.carried(programs())


def is_ready(pod: V1Pod) -> bool:
    """Tell whether an idle pod can take a job now."""
    statuses = (container(pod, BASE), container(pod, STEWARD))
    return age(pod) < IDLE_SECONDS and all(status is not None and status.state.running for status in statuses)


def _is_of_use(pod: V1Pod, settings: PodSettings) -> bool:
    """Tell whether an idle pod can take a job, or will be able to."""
    if is_ready(pod):
        return True
    return pod.status.phase in ("Pending", "Running") and not _has_ended(pod) and age(pod) < settings.start_seconds


def _has_ended(pod: V1Pod) -> bool:
    statuses: Any = pod.status.container_statuses or ()
    return any(status.state.terminated is not None for status in statuses)
