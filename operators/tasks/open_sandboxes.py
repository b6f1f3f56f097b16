"""How a task of ours comes to its execution's sandboxes. Free of the AI provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

from operators.execution.records import PodSettings
from operators.pods.cluster import Cluster
from operators.pods.sandbox import PodSandboxes
from operators.settings import pod_connection


def open_with_airflow(organization: str, execution_id: str, **options: Any) -> Callable[[], PodSandboxes]:
    """Return how a task of ours opens its execution's sandboxes: settings from the control plane, the key from
    Airflow's connection of the organisation.

    :param execution_id: The execution's own id, as the key of a step has it. Where Airflow made the run (a schedule, a
        person in its UI), that is not the run's: no label can hold such an id, and upkeep knows no execution of it.
    :param options: ``unit``, ``image``, ``limits`` and what else :class:`PodSandboxes` takes.
    :raises ValueError: It is the id of a run that Airflow made.
    """
    try:
        UUID(execution_id)
    except ValueError:
        raise ValueError("`execution_id` must be the execution's own id, a UUID, and not its run's") from None

    def opened() -> PodSandboxes:
        from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook

        settings = asyncio.run(_settings(execution_id))
        hook = KubernetesHook(conn_id=pod_connection(organization))
        return PodSandboxes(Cluster(hook.core_v1_client, settings.namespace), settings, execution_id, **options)

    return opened


async def _settings(execution_id: str) -> PodSettings:
    from operators.execution.http import HttpStore
    from operators.settings import runtime_settings

    async with HttpStore(runtime_settings()) as store:
        return await store.pod_settings(execution_id)
