"""What the runtime API tells a worker of pods."""

from __future__ import annotations

from collections.abc import Sequence

from api.problems import Problem
from api.settings import Settings
from operators.execution.records import PodSettings, WarmPods


def pod_settings(settings: Settings, organization: str, warm: Sequence[WarmPods] = ()) -> PodSettings:
    """Return how an organisation's pods are made.

    :param warm: Those that it keeps started.

    :raises Problem: 409 where this installation runs code in processes.
    """
    if settings.isolation != "kubernetes":
        detail = (
            "Pods must be set up; this installation runs code in processes. Set AGENT_FACTORY_ISOLATION=kubernetes."
        )
        raise Problem(409, "not_possible_here", detail)
    policy = settings.images_of(organization)
    return PodSettings(
        namespace=settings.namespace_of(organization),
        runner_image=settings.pod_runner_image,
        runtime_class=settings.pod_runtime_class,
        images=None if policy.allow is None else list(policy.allow),
        digests=policy.digests,
        pull_secrets=list(settings.pull_secrets_of(organization)),
        always_pull=settings.has_private_images,
        start_seconds=settings.pod_start_seconds,
        hold_seconds=settings.pod_hold_seconds,
        warm=list(warm),
    )
