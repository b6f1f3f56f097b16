"""Executions with pods while parts of the platform are killed and frozen: right outputs, no second pod, none left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.models import NumberedModels
from tests.chaos.pods import CASES, PodWatch
from tests.chaos.run import chaos, check, disrupted_platform, seed_of_environment
from tests.kubernetes.cluster import ORGANIZATION, PREFIX, TestCluster, platform_environment

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(3000)]

EXECUTIONS = int(os.environ.get("AGENT_FACTORY_CHAOS_WITH_PODS") or 10)
"""``make chaos-pods`` starts 100."""


async def test_right_outputs_and_no_pod_twice(cluster: TestCluster, tmp_path: Path) -> None:
    watch = PodWatch(cluster.api(), PREFIX + ORGANIZATION)
    with (
        NumberedModels(delay=0.2) as models,
        disrupted_platform(models, platform_environment(cluster, tmp_path)) as (platform, relays),
    ):
        # Those of the tests before may still be going.
        platform.until(lambda: not cluster.api().list_namespaced_pod(PREFIX + ORGANIZATION).items)
        watch.start()
        try:
            outcome = chaos(
                platform, relays, models,
                executions=EXECUTIONS, disruptions=max(6, EXECUTIONS // 4), seed=seed_of_environment(), cases=CASES,
            )  # fmt: skip
            check(outcome, ORGANIZATION)
            await cluster.remove_pods_of_nobody(platform)
            platform.until(lambda: not cluster.pods())
        finally:
            watch.finish()
            cluster.remove_pods()
    watch.check({trigger.execution_id for trigger in outcome.triggers})
