"""``code`` in the runner: what a step gives the sandbox; retries, time-outs and the journal are the runner's."""

from __future__ import annotations

import os
import shutil
from typing import Any

import orjson
import pytest

from compiler import compile_workflow
from compiler.plan import Limits, Plan, Pod
from operators.execution.local import LocalResult, run_plan
from operators.sandbox.processes import become_subreaper, descendants
from operators.steps.base import StepFailedError
from operators.steps.registry import HANDLERS
from tests.compiler.building import workflow
from tests.operators.execution.plans import step

pytestmark = pytest.mark.unit

LIMITS = Limits(cpu_millicores=1000, memory_bytes=1 << 28, ephemeral_storage_bytes=1 << 25)
SLOW = "import os, time\ndef main(input):\n    os.fork()\n    time.sleep(1000)"


def code(task_id: str, source: str, language: str = "python", **fields: Any) -> dict[str, Any]:
    config = {"language": language, "input": fields.pop("input", {})}
    return {"id": task_id, "type": "code", "code": source, "config": config, **fields}


def compiled(*tasks: dict[str, Any], **extra: Any) -> Plan:
    compilation = compile_workflow(orjson.dumps(workflow(*tasks, **extra)), organization="test")
    assert compilation.plan is not None, compilation.diagnostics
    return compilation.plan


async def run(*tasks: dict[str, Any], input: Any = None, **extra: Any) -> LocalResult:
    """Run tasks; no process may be left at the end."""
    become_subreaper()
    before = set(descendants(os.getpid()))
    result = await run_plan(compiled(*tasks, **extra), input=input)
    assert set(descendants(os.getpid())) <= before
    return result


class TestRender:
    def test_only_the_input_is_a_template(self) -> None:
        config = {"language": "python", "input": {"n": "{{ input.n }}"}, "network": "egress"}
        source = "def main(input):\n    return '{{ input.n }}'"
        made = step("a", type="code", config=config, code=source, limits=LIMITS, timeout_seconds=5.0)
        job = HANDLERS["code"].render(made, {"input": {"n": 3}})
        assert (job.code, job.input, job.network) == (source, {"n": 3}, "egress")
        assert (job.limits, job.timeout_seconds) == (LIMITS, 5.0)

    def test_what_was_compiled_for_a_pod_never_runs_here(self) -> None:
        pod = Pod(image="python:3.11-slim", network="none", limits=LIMITS, timeout_seconds=5.0)
        fields: dict[str, Any] = {"code": "def main(input): 1", "limits": LIMITS, "timeout_seconds": 5.0}
        made = step("a", type="code", config={"language": "python"}, pod=pod, **fields)
        with pytest.raises(StepFailedError, match="Kubernetes") as error:
            HANDLERS["code"].render(made, {})
        assert (error.value.code, error.value.retryable) == ("needs_kubernetes", False)


class TestInTheRunner:
    async def test_timeout_of_the_step_and_its_retry(self) -> None:
        source = SLOW
        slow = code("slow", source, timeout="300ms", retry={"attempts": 2, "backoff_seconds": 0}, on_error="continue")
        result = await run({**slow, "next": ["after"]}, code("after", "def main(input): return 'goes on'"))
        record = result.steps["slow"]
        assert record.error is not None
        assert (record.status, record.attempts, record.error.code) == ("failed", 2, "timeout")
        assert result.steps["after"].output == "goes on"

    async def test_timeout_of_the_workflow(self) -> None:
        result = await run(code("slow", SLOW), settings={"timeout": "500ms"})
        assert result.status == "failed"
        assert result.steps["slow"].status == "cancelled"

    async def test_parallel_branches(self) -> None:
        tasks = [code(name, f"def main(input): return '{name}'", next=["end"]) for name in "abc"]
        result = await run(*tasks, code("end", "def main(input): return 'end'"))
        assert [record.output for record in result.steps.values()] == ["a", "b", "c", "end"]

    @pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
    async def test_two_languages(self) -> None:
        upper = "async function main(input) { return input.words.map((word) => word.toUpperCase()).reverse(); }"
        result = await run(
            code("words", "def main(input): return input['t'].split()", input={"t": "{{ input }}"}, next=["upper"]),
            code("upper", upper, "javascript", input={"words": "{{ words.output }}"}),
            input="one two",
        )
        assert result.output == {"upper": ["TWO", "ONE"]}

    async def test_errors_are_in_the_journal(self) -> None:
        result = await run(code("bad", "def main(input):\n    print('on the way')\n    1 / 0"))
        error = result.steps["bad"].error
        assert error is not None
        assert error.code == "code_error"
        assert error.message == (
            "ZeroDivisionError: division by zero (line 3 of the code)\nIt printed last:\non the way"
        )
