"""``code`` and ``container`` tasks: what is checked without running them, and what their plan holds."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.plan import Limits, Pod
from compiler.quantities import parse_quantity
from tests.compiler.building import codes, plan_of, problems, workflow

pytestmark = pytest.mark.unit

GOOD = "def main(input):\n    return 1\n"


def code(source: str | None = GOOD, language: str = "python", task_id: str = "a", **fields: Any) -> dict[str, Any]:
    task = {"id": task_id, "type": "code", "config": {"language": language, **fields.pop("config", {})}, **fields}
    return task if source is None else {**task, "code": source}


def container(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "container", "config": {}, "runtime_image": "alpine", **fields}


class TestCode:
    @pytest.mark.parametrize(
        "source",
        [
            GOOD,
            "from math import floor as main",
            "main = lambda input: 1",
            "class main: pass",
            "if True:\n    def main(input): return 1\nelse:\n    main = None",
            "try:\n    import main\nexcept ImportError:\n    pass",
            "# \\d is no escape of ours\nx = '\\d'\ndef main(input): return '{{ x }} {% if'",
        ],
    )
    def test_good_python(self, source: str) -> None:
        assert codes(workflow(code(source))) == []

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("def main(input):\n    return (", "line 2 is not: '(' was never closed."),
            ("", "must define a function `main(input)`"),
            ("def other(input): pass", "must define a function `main(input)`"),
            ("class A:\n    def main(self): pass", "must define a function `main(input)`"),
            ("def f():\n    main = 1", "must define a function `main(input)`"),
            ("async def main(input): pass", "must be a plain function"),
            ("x\0", "must be Python"),
            ("(" * 5000, "must be Python"),
            ("-" * 100_000 + "1", "must be Python"),
        ],
    )
    def test_bad_python(self, source: str, message: str) -> None:
        (found,) = problems(workflow(code(source)))
        assert (found.code, found.path, found.task_id) == ("invalid_config", "/tasks/0/code", "a")
        assert message in found.message

    def test_javascript_is_looked_at_only_a_little(self) -> None:
        assert codes(workflow(code("const main = (", "javascript"))) == []
        for source in ("", "1 + 1"):
            assert codes(workflow(code(source, "javascript"))) == [("invalid_config", "/tasks/0/code")]

    def test_no_code(self) -> None:
        assert codes(workflow(code(None))) == [("missing_field", "/tasks/0")]

    def test_code_belongs_to_code(self) -> None:
        assert ("invalid_config", "/tasks/0/code") in codes(workflow(container(code=GOOD)))

    def test_an_image_needs_kubernetes(self) -> None:
        assert codes(workflow(code(runtime_image="python:3.12"))) == [("needs_kubernetes", "/tasks/0/runtime_image")]

    def test_a_container_needs_an_image(self) -> None:
        source = workflow({"id": "a", "type": "container", "config": {}})
        assert ("missing_field", "/tasks/0") in codes(source)


class TestLimits:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1", 1), ("0.5", 0.5), (".5", 0.5), ("500m", 0.5), ("1e3", 1000), ("2E-1", 0.2), ("1Ki", 1024),
            ("1.5Mi", 1572864), ("2k", 2000), ("3G", 3 * 10**9), ("1E", 10**18), ("1Ei", 2**60), ("7u", 7e-6),
        ],
    )  # fmt: skip
    def test_quantities(self, text: str, value: float) -> None:
        found = parse_quantity(text)
        assert found is not None
        assert float(found) == pytest.approx(value)

    @pytest.mark.parametrize("text", ["", "-1", "+1", "1 Mi", "1mi", "Mi", "1KiB", "1MB", "1e", "١", "1e999", "0x1"])
    def test_no_quantities(self, text: str) -> None:
        assert parse_quantity(text) is None

    @pytest.mark.parametrize(
        ("name", "value"),
        [("cpu", "0"), ("cpu", "1m"), ("cpu", "1000"), ("memory", "1"), ("memory", "1Mb"), ("memory", "1Ti"),
         ("ephemeral_storage", "lots")],
    )  # fmt: skip
    def test_refused(self, name: str, value: str) -> None:
        (found,) = problems(workflow(code(resource_limits={name: value})))
        assert (found.code, found.path) == ("invalid_config", f"/tasks/0/resource_limits/{name}")
        assert "must be a Kubernetes quantity from" in found.message

    def test_defaults_and_normal_form(self) -> None:
        limits = {"cpu": "0.0105", "memory": "1.5Gi"}
        first, second = plan_of(
            workflow(code(task_id="a"), code(task_id="b", resource_limits=limits, timeout="5m"))
        ).steps
        assert first.limits == Limits(cpu_millicores=1000, memory_bytes=512 << 20, ephemeral_storage_bytes=256 << 20)
        assert second.limits == Limits(cpu_millicores=11, memory_bytes=3 << 29, ephemeral_storage_bytes=256 << 20)
        assert (first.timeout_seconds, second.timeout_seconds) == (60, 300)
        assert (first.code, first.pod) == (GOOD, None)


class TestPods:
    def test_code(self) -> None:
        options: dict[str, Any] = {"isolation": "kubernetes"}
        tasks = [code(), code("function main() {}", "javascript", "b", config={"network": "egress"}, timeout=5),
                 code(task_id="c", runtime_image="registry.example/own:1")]  # fmt: skip
        steps = plan_of(workflow(*tasks), **options).steps
        assert steps[0].limits is not None
        assert [step.pod for step in steps] == [
            Pod(image="python:3.11-slim", network="none", limits=steps[0].limits, timeout_seconds=60),
            Pod(image="node:22-slim", network="egress", limits=steps[0].limits, timeout_seconds=5),
            Pod(image="registry.example/own:1", network="none", limits=steps[0].limits, timeout_seconds=60),
        ]

    def test_container(self) -> None:
        plan = plan_of(workflow(container()), isolation="kubernetes")
        assert plan.steps[0].pod is not None
        assert (plan.steps[0].pod.image, plan.steps[0].code) == ("alpine", None)
        assert [unit.kind for unit in plan.units] == ["container"]


class TestFusion:
    @pytest.mark.parametrize(
        ("changes", "units"),
        [
            ({}, ["segment.a"]),
            ({"resource_limits": {"cpu": "1000m", "memory": "0.5Gi"}}, ["segment.a"]),
            ({"resource_limits": {"cpu": "2"}}, ["a", "b"]),
            ({"config": {"network": "egress"}}, ["a", "b"]),
            ({"source": "function main() {}", "language": "javascript"}, ["a", "b"]),
            ({"timeout": "5s", "retry": {"attempts": 3}, "on_error": "continue"}, ["segment.a"]),
        ],
    )
    def test_chains_of_like_steps_share_a_unit(self, changes: dict[str, Any], units: list[str]) -> None:
        second = code(changes.pop("source", GOOD), changes.pop("language", "python"), "b", **changes)
        source = workflow(code(next=["b"]), second)
        assert [unit.id for unit in plan_of(source).units] == units
        assert [unit.id for unit in plan_of(source, fusion="off").units] == ["a", "b"]
        assert {unit.kind for unit in plan_of(source).units} == {"code"}

    def test_another_image_is_another_pod(self) -> None:
        source = workflow(code(next=["b"]), code(task_id="b", runtime_image="python:3.12"))
        units = plan_of(source, isolation="kubernetes").units
        assert [unit.id for unit in units] == ["a", "b"]
