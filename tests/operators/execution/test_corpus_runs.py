"""Every workflow of the corpus runs fused and unfused, with the result it expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from compiler import compile_workflow
from operators.execution.local import LocalResult, run_plan
from operators.execution.stubs import Stubs

pytestmark = pytest.mark.unit

CORPUS = sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))


async def run_case(case: dict[str, Any], fusion: Any) -> LocalResult:
    compilation = compile_workflow(orjson.dumps(case["workflow"]), organization="test", fusion=fusion)
    assert compilation.plan is not None, compilation.diagnostics
    others = {
        other["id"]: compile_workflow(orjson.dumps(other), organization="test", fusion=fusion).plan
        for other in case.get("others", [])
    }
    return await run_plan(
        compilation.plan,
        input=case.get("input", {}),
        vars=case.get("vars"),
        stubs=Stubs(case.get("stubs")),
        find_workflow=others.get,
    )


@pytest.mark.parametrize("fusion", ["auto", "off"])
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
async def test_result_is_as_expected(file: Path, fusion: str) -> None:
    case = orjson.loads(file.read_bytes())
    result = await run_case(case, fusion)
    expected = case["expect"]
    assert result.status == expected["status"]
    assert result.output == expected.get("output")
    for step_id, step in expected.get("steps", {}).items():
        shown = result.steps[step_id].model_dump(mode="json")
        status = step if isinstance(step, str) else step["status"]
        assert shown["status"] == status, step_id
        if isinstance(step, dict):
            assert {name: shown[name] for name in step} == step, step_id


def test_there_is_a_corpus() -> None:
    assert CORPUS
