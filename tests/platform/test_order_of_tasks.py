"""More executions than workers: what began first goes on first."""

from __future__ import annotations

import pytest

from tests.benchmarks import fusion
from tests.platform.test_limits_and_events import ask, workflow
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform

LATER = 12


def test_the_oldest_ends_before_all_others_have_begun(platform: Platform, models: ModelServer) -> None:
    """Its later tasks have few tasks after them: by Airflow's own rule each beginning of the others would be first."""
    after = {"id": "last", "type": "transform", "config": {"set": {"x": 1}}}
    platform.publish(workflow("oldest", ask("ask", "oldest", "last"), after, settings={"fusion": "off"}))
    models.scripts["oldest"] = ["done"]
    models.block_model("oldest")
    oldest = platform.execute("oldest", {})
    platform.until(lambda: len(models.prompts("oldest")) == 1)
    chain = platform.publish(fusion.workflow("later", "off"))
    platform.until(lambda: platform.airflow_has(chain["dag_id"], chain["digest"]))
    later = [platform.execute("later", {"n": 0}) for _ in range(LATER)]
    models.release()
    ended = platform.wait(oldest)["completed_at"]
    begun = [platform.wait(execution_id)["started_at"] for execution_id in later]
    assert ended < max(begun)


def test_weights_are_negative_and_kept(platform: Platform) -> None:
    """Tasks of DAGs that are not ours, upkeep among them, go first: their weight is 1 or more."""
    published = platform.publish(fusion.workflow("weighed", "off"))
    execution_id = platform.execute("weighed", {"n": 0})
    platform.wait(execution_id)
    run = f"/api/v2/dags/{published['dag_id']}/dagRuns/{execution_id}"
    tasks = platform.airflow.get(f"{run}/taskInstances").raise_for_status().json()["task_instances"]
    [weight] = {task["priority_weight"] for task in tasks}
    assert weight < 0
