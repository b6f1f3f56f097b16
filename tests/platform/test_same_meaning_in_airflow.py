"""The corpus with real Airflow, fused and unfused: the same results as in one process.

Each case runs twice against the stub of the model services: by ``run_plan``, as ``agent-factory run`` does it, and
published through Airflow. Both must end alike, and as the case says.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from compiler import compile_workflow
from operators.execution.bodies import task_id
from operators.execution.local import LocalResult, run_plan
from operators.execution.records import ModelCredential, step_view
from operators.execution.stubs import Stubs
from tests.stubs.http_server import HttpServer
from tests.stubs.model_server import ModelServer
from tests.support import MODEL_KEY, Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(1500)]


def is_fused(case: dict[str, Any]) -> bool:
    """Tell whether fusion changes a case's DAG at all."""
    source = json.dumps(case["workflow"])
    fused, unfused = (compile_workflow(source, organization="default", fusion=fusion).plan for fusion in FUSIONS)
    assert fused is not None
    assert unfused is not None
    return fused.units != unfused.units


FUSIONS: tuple[Literal["auto", "off"], ...] = ("auto", "off")
CORPUS = {
    file.stem: json.loads(file.read_text()) for file in sorted((Path(__file__).parents[1] / "workflows").glob("*"))
}
CASES = [(name, fusion) for name, case in CORPUS.items() for fusion in FUSIONS if fusion == "auto" or is_fused(case)]
COMPARED = ("status", "output", "error", "attempts")
AT_ONCE = 12
"""A workflow's own time-out counts from acceptance: so many wait for a worker on two cores without harm."""


@dataclass(frozen=True)
class Servers:
    """What the stubbed calls of the corpus go to."""

    models: ModelServer
    web: HttpServer


def prepared(case: dict[str, Any], fusion: str, servers: Servers) -> dict[str, Any]:
    """Return the case's workflow under an id of its own; each stubbed task calls a model or an address of its own."""
    workflow = copy.deepcopy(case["workflow"])
    workflow["id"] = f"{workflow['id'][:50]}_{fusion}"
    workflow.setdefault("settings", {})["fusion"] = fusion
    for trigger in [workflow["trigger"]] if "trigger" in workflow else workflow["triggers"]:
        if trigger["type"] == "webhook":
            trigger["config"]["path"] += f"/{fusion}"
    stubs = stubs_by_task(case)
    for task in every_task(workflow["tasks"]):
        if task["type"] == "workflow":
            task["config"]["workflow"] = f"{task['config']['workflow'][:50]}_{fusion}"
        elif task["id"] in stubs and task["type"] == "http_request":
            task["config"]["url"] = servers.web.script(called(workflow, task["id"]), stubs[task["id"]])
        elif task["id"] in stubs and task["type"] == "ai_inference":
            task["config"]["model"] = f"openai:{called(workflow, task['id'])}"
    return workflow


def every_task(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for task in tasks:
        yield task
        yield from every_task(task["config"].get("tasks", []) if task["type"] == "map" else [])


def stubs_by_task(case: dict[str, Any]) -> dict[str, Any]:
    """Return the stubs by task id. Those of single items of a map follow each other: it takes one item at a time."""
    stubs: dict[str, Any] = {}
    for step_id, stub in case["stubs"].items():
        name = task_id(step_id)
        stubs[name] = stub if name == step_id else [*stubs.get(name, []), *stub]
    return stubs


def called(workflow: dict[str, Any], task_id: str) -> str:
    return f"{workflow['id']}-{task_id}"


def script(workflow: dict[str, Any], case: dict[str, Any], servers: Servers) -> None:
    """Have the servers answer what the case's stubs say, from their beginning."""
    types = {task["id"]: task["type"] for task in every_task(workflow["tasks"])}
    for name, stub in stubs_by_task(case).items():
        if types.get(name) == "http_request":
            servers.web.script(called(workflow, name), stub)
        elif types.get(name) == "ai_inference":
            answers = [answer(item) for item in stub] if isinstance(stub, list) else answer(stub)
            servers.models.scripts[called(workflow, name)] = answers


def decisions(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the case's stubs decide in place of people."""
    types = {task["id"]: task["type"] for task in every_task(case["workflow"]["tasks"])}
    return {name: stub for name, stub in stubs_by_task(case).items() if types.get(name) == "approval"}


def in_one_process(
    workflow: dict[str, Any], others: list[dict[str, Any]], case: dict[str, Any], servers: Servers
) -> LocalResult:
    """Run a case without Airflow."""

    async def credential(provider: str) -> ModelCredential:
        return ModelCredential(provider=provider, api_key=MODEL_KEY, base_url=servers.models.openai_url)

    plans = {
        each["id"]: compile_workflow(json.dumps(each), organization="default").plan for each in (workflow, *others)
    }
    plan = plans[workflow["id"]]
    assert plan is not None
    script(workflow, case, servers)
    running = run_plan(
        plan,
        input=case["input"],
        vars=case["vars"],
        credentials=credential,
        find_workflow=plans.get,
        stubs=Stubs(decisions(case)),
    )
    return asyncio.run(running)


def answer(item: Any) -> Any:
    """A model's answer is text where the stub is ``{text}``, else an object or a failure."""
    return item["text"] if isinstance(item, dict) and set(item) == {"text"} else item


@dataclass(frozen=True)
class Both:
    """How a case ended in one process and in Airflow."""

    here: LocalResult
    there: dict[str, Any]


@pytest.fixture(scope="module")
def results(platform: Platform, session_models: ModelServer, session_web: HttpServer) -> dict[tuple[str, str], Both]:
    """Run every case both ways, in Airflow a few at a time."""
    servers = Servers(session_models, session_web)
    workflows = {(name, fusion): prepared(CORPUS[name], fusion, servers) for name, fusion in CASES}
    here: dict[tuple[str, str], LocalResult] = {}
    for (name, fusion), workflow in workflows.items():
        others = [
            prepared({**CORPUS[name], "workflow": other}, fusion, servers) for other in CORPUS[name].get("others", [])
        ]
        here[name, fusion] = in_one_process(workflow, others, CORPUS[name], servers)
        script(workflow, CORPUS[name], servers)
        platform.set_variables(CORPUS[name]["vars"])
        for each in (*others, workflow):
            platform.publish(each)

    def in_airflow(key: tuple[str, str]) -> dict[str, Any]:
        case = CORPUS[key[0]]
        execution_id = platform.execute(workflows[key]["id"], case["input"])
        if decided := decisions(case):
            platform.decide(execution_id, decided)
        return platform.wait(execution_id, 300)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        there = dict(zip(workflows, pool.map(in_airflow, workflows), strict=True))
    return {key: Both(here[key], there[key]) for key in workflows}


@pytest.mark.parametrize(("name", "fusion"), CASES)
def test_same_result(name: str, fusion: str, results: dict[tuple[str, str], Both]) -> None:
    expected, here, there = CORPUS[name]["expect"], results[name, fusion].here, results[name, fusion].there
    assert (there["status"], there["output"]) == (here.status, here.output)
    assert there["status"] == expected["status"]
    steps = {step["id"]: step for step in there["steps"]}
    # The others may depend on what was quicker: a failure ends steps that run beside it or not.
    for step_id in expected.get("steps", {}):
        view = step_view(here.steps[step_id])
        # An event's id is made of the execution's.
        fields = [field for field in COMPARED if field != "output" or steps[step_id]["type"] != "emit_event"]
        assert {field: steps[step_id][field] for field in fields} == {field: view[field] for field in fields}, step_id


def test_airflow_agrees(platform: Platform, results: dict[tuple[str, str], Both]) -> None:
    """Airflow's own state of each run is the execution's."""
    for (name, fusion), both in results.items():
        dag_id = f"default__{CORPUS[name]['workflow']['id'][:50]}_{fusion}"
        state = platform.airflow_run_state(dag_id, both.there["execution_id"])
        assert state == both.there["status"], (name, fusion)
