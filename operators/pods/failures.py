"""What the status of a pod means for the step in it: it starts, runs, has ended, or has failed, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from operators.pods.spec import BASE, RECEIVER, STEWARD

if TYPE_CHECKING:
    from kubernetes.client import V1ContainerState, V1ContainerStateTerminated, V1ContainerStatus, V1Pod

Phase = Literal["starting", "receiving", "running", "ended"]
NO_IMAGE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable")
NO_START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
            "ContainerCannotRun")  # fmt: skip
MESSAGE_LIMIT = 400


class PodFailedError(Exception):
    """A pod gave no result.

    :param code: Stable code of the step's error.
    :param message: Rule, got, fix.
    :param retryable: Whether another attempt, which gets a fresh pod, can help.
    :param exit_code: Of the container, where it ended by itself.
    """

    def __init__(self, code: str, message: str, *, retryable: bool, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Moments:
    """When a pod came how far, as Kubernetes tells it (whole seconds).

    :param received: It had what was brought in; only then is the image of the tenant's container pulled.
    :param begun: The tenant's container ran.
    """

    created: datetime | None
    scheduled: datetime | None
    received: datetime | None
    begun: datetime | None


def look_at(pod: V1Pod, *, waited: float, start_seconds: float) -> Phase:
    """Return how far a pod is.

    :param waited: Seconds since it was made.
    :raises PodFailedError: It gives no result any more.
    """
    _refuse_ended(pod)
    base, receiver, steward = (container(pod, name) for name in (BASE, RECEIVER, STEWARD))
    if base is not None and base.state.terminated is not None:
        _refuse_exit(base)
        _refuse_without(steward)
        return "ended"
    if base is not None and base.state.running is not None:
        _refuse_without(steward)
        return "running"
    for status in (receiver, base, steward):
        _refuse_waiting(status)
    if waited > start_seconds:
        raise _not_started(pod, start_seconds)
    return "receiving" if receiver is not None and receiver.state.running is not None else "starting"


def container(pod: V1Pod, name: str) -> V1ContainerStatus | None:
    """Return the status of a container; None where there is none yet."""
    statuses = [*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())]
    return next((status for status in statuses if status.name == name), None)


def moments(pod: V1Pod) -> Moments:
    """Return when each part of a pod's start was over."""
    receiver, base = container(pod, RECEIVER), container(pod, BASE)
    scheduled = next((c.last_transition_time for c in pod.status.conditions or () if c.type == "PodScheduled"), None)
    ended = receiver.state.terminated if receiver is not None else None
    received = ended.finished_at if ended is not None else None
    return Moments(pod.metadata.creation_timestamp, scheduled, received, _began(base))


def _began(status: V1ContainerStatus | None) -> datetime | None:
    if status is None:
        return None
    state: V1ContainerState = status.state
    running: datetime | None = state.running.started_at if state.running is not None else None
    return state.terminated.started_at if state.terminated is not None else running


def _refuse_ended(pod: V1Pod) -> None:
    """Look at what became of the whole pod."""
    reason, message = pod.status.reason or "", _short(pod.status.message)
    if reason == "NodeLost" or pod.status.phase == "Unknown":
        raise PodFailedError("node_lost", "the pod's node must stay; the cluster lost it", retryable=True)
    if reason == "DeadlineExceeded":
        raise _past_deadline(pod)
    disrupted = any(c.type == "DisruptionTarget" and c.status == "True" for c in pod.status.conditions or ())
    if reason == "Evicted" and any(word in message.lower() for word in ("emptydir", "ephemeral")):
        rule = f"the container must do with its `ephemeral_storage`; it wrote more. {message}"
        raise PodFailedError("storage_full", rule, retryable=False)
    if reason in ("Evicted", "Preempting", "Shutdown", "NodeShutdown", "Terminated") or disrupted:
        raise PodFailedError("evicted", f"the pod must stay on its node; it was evicted. {message}", retryable=True)
    if pod.status.phase == "Failed" and not pod.status.container_statuses:
        rule = f"the node must take the pod; it refused it: {reason} {message}"
        raise PodFailedError("unschedulable", rule, retryable=True)


def _past_deadline(pod: V1Pod) -> PodFailedError:
    base = container(pod, BASE)
    ended = base.state.terminated.finished_at if base is not None and base.state.terminated is not None else None
    begun, seconds = pod.status.start_time, pod.spec.active_deadline_seconds
    if None not in (ended, begun, seconds) and (ended - begun).total_seconds() < seconds:
        rule = "a result must be fetched before its pod's deadline; the container had ended, and nobody came for it"
        return PodFailedError("deadline", rule, retryable=True)
    rule = "the pod must end within its deadline; it took longer. Raise the step's `timeout`"
    return PodFailedError("deadline", rule, retryable=False)


def _refuse_without(steward: V1ContainerStatus | None) -> None:
    """Refuse a pod that can hand out nothing any more."""
    ended = steward.state.terminated if steward is not None and steward.state is not None else None
    if ended is not None:
        raise _broken_off(STEWARD, ended)


def _broken_off(name: str, ended: V1ContainerStateTerminated) -> PodFailedError:
    rule = f"the pod's own parts must run; {name} ended with {ended.exit_code} ({ended.reason})"
    return PodFailedError("sandbox_error", rule, retryable=True)


def _refuse_exit(base: V1ContainerStatus) -> None:
    ended = base.state.terminated
    if ended.reason == "OOMKilled":
        rule = "the container must do with its `memory`; it took more. Raise `resource_limits.memory`"
        raise PodFailedError("out_of_memory", rule, retryable=False)
    if ended.reason in NO_START:
        rule = f"the image must be able to run the command; it cannot: {_short(ended.message)}"
        raise PodFailedError("exit_code", rule, retryable=False, exit_code=ended.exit_code)
    if ended.exit_code:
        rule = f"the container must end with exit code 0; got {ended.exit_code}"
        raise PodFailedError("exit_code", rule, retryable=True, exit_code=ended.exit_code)


def _refuse_waiting(status: V1ContainerStatus | None) -> None:
    """Look why a container does not start."""
    if status is None or status.state is None:
        return
    ended = status.state.terminated
    if status.name != BASE and ended is not None and ended.exit_code:
        raise _broken_off(status.name, ended)
    waiting = status.state.waiting
    if waiting is None:
        return
    if waiting.reason in NO_IMAGE:
        rule = f"image {status.image!r} must be there to pull; {waiting.reason}: {_short(waiting.message)}"
        raise PodFailedError("image_pull", rule, retryable=waiting.reason != "InvalidImageName")
    if waiting.reason in NO_START:
        rule = f"the container must start; {waiting.reason}: {_short(waiting.message)}"
        raise PodFailedError("exit_code", rule, retryable=False)


def _not_started(pod: V1Pod, start_seconds: float) -> PodFailedError:
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            rule = (
                f"a node must have room for the pod; none had within {start_seconds:g} s: {_short(condition.message)}"
            )
            return PodFailedError("unschedulable", rule, retryable=True)
    rule = f"the pod must run within {start_seconds:g} s; it does not. Its image may be too large to pull in that time"
    return PodFailedError("start_timeout", rule, retryable=True)


def _short(message: str | None) -> str:
    return " ".join((message or "").split())[:MESSAGE_LIMIT]
