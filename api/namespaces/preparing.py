"""What must be there before a workflow with pods is published: its images are allowed, and there is a namespace."""

from __future__ import annotations

import asyncio
import time

from api.namespaces.cluster import NamespaceError, Namespaces
from api.problems import Problem
from api.settings import Settings
from compiler.images import image_refusal
from compiler.plan import Plan, every_step

ENSURED_SECONDS = 600.0
"""So long a process takes a namespace that it has set right for right."""


async def prepare_pods(settings: Settings, organization: str, plan: Plan) -> None:
    """Check the images of a plan that is to be published, and make the namespace of its pods. Without pods: nothing.

    :raises Problem: 422 ``image_not_allowed``, where the organisation may not run one; 503, where there is no cluster.
    """
    if has_pods(plan):
        _refuse_images(settings, organization, plan)
        await _ensure_namespace(settings, organization)


def open_namespaces(settings: Settings) -> Namespaces:
    """Return the cluster.

    :raises Problem: 409 where there is none to keep.
    """
    if not settings.keeps_namespaces:
        detail = (
            "Namespaces are kept where AGENT_FACTORY_ISOLATION=kubernetes and AGENT_FACTORY_KUBERNETES_CONFIG "
            "are set; one is not."
        )
        raise Problem(409, "not_possible_here", detail)
    try:
        return Namespaces(settings)
    except NamespaceError as error:
        raise Problem(503, "cluster_away", f"The cluster must be there; {error}.") from None


_ensured: dict[str, float] = {}


async def _ensure_namespace(settings: Settings, organization: str) -> None:
    """Make an organisation's namespace before its first workflow with pods is published; upkeep keeps it from then.

    :raises Problem: 503 where it cannot be made.
    """
    if settings.kubernetes_config is None:
        return
    if time.monotonic() - _ensured.get(organization, float("-inf")) < ENSURED_SECONDS:
        return
    namespaces = await asyncio.to_thread(open_namespaces, settings)
    try:
        await asyncio.to_thread(namespaces.ensure, organization)
    except NamespaceError as error:
        raise Problem(503, "cluster_away", f"The cluster must take the organisation's namespace; {error}.") from None
    _ensured[organization] = time.monotonic()


def _refuse_images(settings: Settings, organization: str, plan: Plan) -> None:
    """Check the images of a plan that is to be published. Each is checked again before its pod starts.

    :raises Problem: 422 ``image_not_allowed``, where the organisation may not run one.
    """
    policy = settings.images_of(organization)
    for step in every_step(plan.steps):
        if step.pod is None:
            continue
        refusal = image_refusal(step.pod.image, policy.allow, digests=policy.digests)
        if refusal is not None:
            detail = f"The image {step.pod.image!r} of task {step.id!r} {refusal}."
            raise Problem(422, "image_not_allowed", detail, task_id=step.id)


def has_pods(plan: Plan) -> bool:
    """Tell whether a plan has steps in pods."""
    return any(step.pod is not None for step in every_step(plan.steps))
