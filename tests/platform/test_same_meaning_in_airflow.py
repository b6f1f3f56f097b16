"""The corpus through the webhook-to-result path with real Airflow: fused and unfused, as in one process."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]

CORPUS = {
    file.stem: json.loads(file.read_text()) for file in sorted((Path(__file__).parents[1] / "workflows").glob("*"))
}
FUSIONS = ("auto", "off")
AT_ONCE = 12
"""A workflow's own time-out counts from acceptance: so many wait for a worker on two cores without harm."""


def prepared(case: dict[str, Any], fusion: str, models: ModelServer) -> dict[str, Any]:
    """Return the case's workflow under an id of its own, its stubs turned into scripts of the model server."""
    workflow = copy.deepcopy(case["workflow"])
    workflow["id"] = f"{workflow['id'][:50]}_{fusion}"
    workflow.setdefault("settings", {})["fusion"] = fusion
    for trigger in [workflow["trigger"]] if "trigger" in workflow else workflow["triggers"]:
        if trigger["type"] == "webhook":
            trigger["config"]["path"] += f"/{fusion}"
    for task in workflow["tasks"]:
        if task["id"] in case.get("stubs", {}):
            name = f"{workflow['id']}-{task['id']}"
            task["config"]["model"] = f"openai:{name}"
            models.scripts[name] = [answer(item) for item in as_list(case["stubs"][task["id"]])]
    return workflow


def expectation(case: dict[str, Any], fusion: str) -> dict[str, Any]:
    """Return what the case expects, with the id that its workflow has here."""
    workflow_id = case["workflow"]["id"]
    text = json.dumps(case["expect"]).replace(f'"{workflow_id}"', f'"{workflow_id[:50]}_{fusion}"')
    expected: dict[str, Any] = json.loads(text)
    return expected


def as_list(stub: Any) -> list[Any]:
    return stub if isinstance(stub, list) else [stub]


def answer(item: Any) -> Any:
    """A model's answer is text where the stub is ``{text}``, else an object or a failure."""
    return item["text"] if isinstance(item, dict) and set(item) == {"text"} else item


def set_variables(platform: Platform, values: dict[str, Any]) -> None:
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    with connection, connection.cursor() as cursor:
        for name, value in values.items():
            cursor.execute(
                "INSERT INTO variables (organization_id, name, value) SELECT id, %s, %s FROM organizations "
                "ON CONFLICT DO NOTHING",
                (name, json.dumps(value)),
            )
    connection.close()


@pytest.fixture(scope="module")
def results(platform: Platform, session_models: ModelServer) -> dict[tuple[str, str], dict[str, Any]]:
    """Run every case both ways, a few at a time, and return the executions."""
    workflows: dict[tuple[str, str], dict[str, Any]] = {}
    for name, case in CORPUS.items():
        set_variables(platform, case.get("vars", {}))
        for fusion in FUSIONS:
            workflows[name, fusion] = prepared(case, fusion, session_models)
            platform.publish(workflows[name, fusion])
    ended: dict[tuple[str, str], dict[str, Any]] = {}
    for batch in batches(list(workflows), AT_ONCE):
        started = {key: platform.execute(workflows[key]["id"], CORPUS[key[0]].get("input", {})) for key in batch}
        ended |= {key: platform.wait(execution_id, 300) for key, execution_id in started.items()}
    return ended


def batches(keys: list[tuple[str, str]], size: int) -> list[list[tuple[str, str]]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("name", CORPUS)
def test_same_result(name: str, fusion: str, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    expected, execution = expectation(CORPUS[name], fusion), results[name, fusion]
    assert (execution["status"], execution["output"]) == (expected["status"], expected.get("output"))
    steps = {step["id"]: step for step in execution["steps"]}
    for step_id, step in expected.get("steps", {}).items():
        fields = {"status": step} if isinstance(step, str) else step
        assert {field: steps[step_id][field] for field in fields} == fields, step_id


def test_airflow_agrees(platform: Platform, results: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Airflow's own state of each run is the execution's."""
    for (name, fusion), execution in results.items():
        dag_id = f"default__{CORPUS[name]['workflow']['id'][:50]}_{fusion}"
        state = platform.airflow_run_state(dag_id, execution["execution_id"])
        assert state == execution["status"], (name, fusion)
