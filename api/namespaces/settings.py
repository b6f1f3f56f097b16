"""What the runtime API tells a worker of pods, and what a publish checks of their images."""

from __future__ import annotations

from api.problems import Problem
from api.settings import Settings
from compiler.images import image_refusal
from compiler.plan import Plan, every_step
from operators.execution.records import PodSettings


def pod_settings(settings: Settings, organization: str) -> PodSettings:
    """Return how an organisation's pods are made.

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
        pull_secrets=list(settings.pod_pull_secrets),
        start_seconds=settings.pod_start_seconds,
        hold_seconds=settings.pod_hold_seconds,
    )


def refuse_images(settings: Settings, organization: str, plan: Plan) -> None:
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
