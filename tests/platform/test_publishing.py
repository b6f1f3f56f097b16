"""What a run uses while its workflow is published anew."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform


def workflow(workflow_id: str, prompt: str, *names: str) -> dict[str, Any]:
    """A model call, then a chain of transforms, each an Airflow task."""
    tasks: list[dict[str, Any]] = [
        {"id": "ask", "type": "ai_inference", "config": {"model": f"openai:{workflow_id}", "prompt": prompt}}
    ]
    for name in names:
        tasks[-1]["next"] = [name]
        tasks.append({"id": name, "type": "transform", "config": {"set": {"made_by": name}}})
    return {
        "id": workflow_id, "name": "Publishing", "version": "1", "trigger": {"type": "manual", "config": {}},
        "tasks": tasks, "settings": {"fusion": "off"},
    }  # fmt: skip


def statuses(execution: dict[str, Any]) -> dict[str, str]:
    return {step["id"]: step["status"] for step in execution["steps"]}


def test_prompt_only_change_is_used_by_the_next_run(platform: Platform, models: ModelServer) -> None:
    for prompt in ("first prompt", "second prompt"):
        platform.publish(workflow("prompt_only", prompt, "after"))
        assert platform.wait(platform.execute("prompt_only", {}))["status"] == "success"
        assert models.prompts("prompt_only")[-1] == prompt


def test_run_in_flight_finishes_on_its_own_version(platform: Platform, models: ModelServer) -> None:
    first = platform.publish(workflow("in_flight", "old", "old_end"))
    models.block()
    seen = len(models.prompts("in_flight"))
    execution_id = platform.execute("in_flight", {})
    platform.until(lambda: len(models.prompts("in_flight")) > seen)
    second = platform.publish(workflow("in_flight", "new", "new_middle", "new_end"))
    platform.until(lambda: platform.airflow_has("default__in_flight", second["digest"]))
    models.release()
    old = platform.wait(execution_id)
    assert (old["version"], statuses(old)) == (first["version"], {"ask": "success", "old_end": "success"})
    new = platform.wait(platform.execute("in_flight", {}))
    assert new["version"] == second["version"]
    assert statuses(new) == {"ask": "success", "new_middle": "success", "new_end": "success"}


def test_published_twice_at_once_with_different_tasks(platform: Platform) -> None:
    """Within Airflow's default pause for writing a DAG anew (30 s) an old graph would meet new code."""
    for names in (("a",), ("b", "c"), ("c", "a", "d")):
        published = platform.publish(workflow("twice_at_once", "hello", *names))
        execution = platform.wait(platform.execute("twice_at_once", {}))
        assert execution["version"] == published["version"]
        assert statuses(execution) == dict.fromkeys(("ask", *names), "success")
