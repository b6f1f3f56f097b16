"""Every workflow of the corpus gives the results it expects with its code in pods, fused and unfused.

Those that cannot run without a cluster, or without Node.js, are in a folder beside this file.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from operators.execution.local import LocalResult
from operators.execution.stubs import Stubs
from tests.kubernetes.cluster import TestCluster, is_of_one_step, load, plan_of_case

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(600)]

FOLDERS = (Path(__file__).parents[1] / "workflows", Path(__file__).parent / "workflows")
CORPUS = {file.stem: load(file) for folder in FOLDERS for file in sorted(folder.glob("*.json"))}
CASES = [(name, fusion) for name in CORPUS for fusion in ("auto", "off")]
NEEDS_NODE = [name for name, case in CORPUS.items() if '"language": "javascript"' in json.dumps(case)]


async def run(cluster: TestCluster, case: dict[str, Any], fusion: str, execution_id: str) -> LocalResult:
    others = {other["id"]: plan_of_case({"workflow": other}, fusion) for other in case.get("others", [])}
    plan = plan_of_case(case, fusion)
    return await cluster.run(
        plan,
        execution_id,
        # As in Airflow, where each unit is a task and has pods of its own.
        cluster.pools(plan) if fusion == "off" else None,
        input=case.get("input", {}),
        vars=case.get("vars"),
        stubs=Stubs(case.get("stubs")),
        find_workflow=others.get,
    )


@pytest.fixture(scope="module")
def results(cluster: TestCluster, request: pytest.FixtureRequest) -> dict[str, LocalResult]:
    left_out = [] if cluster.node() else NEEDS_NODE
    if not left_out:
        request.getfixturevalue("node_image")
    return cluster.run_all(
        {
            f"{name}-{fusion}": partial(run, cluster, CORPUS[name], fusion, f"corpus-{number}")
            for number, (name, fusion) in enumerate(CASES)
            if name not in left_out
        },
        at_once=8,
    )


@pytest.mark.parametrize(("name", "fusion"), CASES)
def test_result_is_as_expected(name: str, fusion: str, results: dict[str, LocalResult]) -> None:
    if f"{name}-{fusion}" not in results:
        pytest.skip("this machine has no Node.js to make an image of")
    result, expected = results[f"{name}-{fusion}"], CORPUS[name]["expect"]
    assert result.status == expected["status"], result
    assert result.output == expected.get("output")
    for step_id, step in expected.get("steps", {}).items():
        shown = orjson.loads(result.steps[step_id].model_dump_json())
        wanted = {"status": step} if isinstance(step, str) else step
        assert {field: shown[field] for field in wanted} == wanted, step_id


def test_nothing_is_left(results: dict[str, LocalResult], cluster: TestCluster) -> None:
    """A pod of one step goes with it, a shared one with its unit."""
    left = {number: cluster.left[f"corpus-{number}"] for number, case in enumerate(CASES) if "-".join(case) in results}
    assert {number for number, pods in left.items() if any(map(is_of_one_step, pods))} == set()
    assert sum(map(len, left.values())) > 0
    assert not cluster.pods()
