"""The workflows with tenant code give the results they expect in pods, fused and unfused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from operators.execution.stubs import Stubs
from tests.kubernetes.cluster import TestCluster, load, plan_of_case

pytestmark = pytest.mark.kubernetes

CORPUS = [
    file
    for file in sorted((Path(__file__).parents[1] / "workflows").glob("*.json"))
    if b'"type": "code"' in file.read_bytes()
]


def result_of(cluster: TestCluster, case: dict[str, Any], fusion: str, execution_id: str) -> Any:
    others = {other["id"]: plan_of_case({"workflow": other}, fusion) for other in case.get("others", [])}
    return cluster.run(
        plan_of_case(case, fusion),
        execution_id,
        input=case.get("input", {}),
        vars=case.get("vars"),
        stubs=Stubs(case.get("stubs")),
        find_workflow=others.get,
    )


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_result_is_as_expected(file: Path, cluster: TestCluster) -> None:
    case = load(file)
    # One of them with a pod a step; for all that would take minutes.
    fusions = ["auto", "off"] if file.stem == "code_chain" else ["auto"]
    for fusion in fusions:
        result = result_of(cluster, case, fusion, f"corpus-{file.stem.replace('_', '-')}-{fusion}"[:63])
        expected = case["expect"]
        assert result.status == expected["status"], result
        assert result.output == expected.get("output")
        for step_id, step in expected.get("steps", {}).items():
            shown = orjson.loads(result.steps[step_id].model_dump_json())
            wanted = {"status": step} if isinstance(step, str) else step
            assert {name: shown[name] for name in wanted} == wanted, step_id
    assert not cluster.pods()


def test_there_are_such_workflows() -> None:
    assert len(CORPUS) >= 6
