"""``agent-factory explain``: what is printed where, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main
from tests.compiler.building import transform, workflow

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[3] / "dags" / "examples" / "customer_support.json"


def explain(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


def test_text_is_the_default() -> None:
    result = explain(EXAMPLE)
    assert result.exit_code == 0
    assert result.stdout.startswith("workflow_123: Customer Support Agent (version 1.0)\n")
    assert "Airflow task 1 of 1: segment.classify_intent (a segment of 6 steps)" in result.stdout


def test_fusion_off() -> None:
    result = explain(EXAMPLE, "--fusion", "off")
    assert "Airflow task 6 of 6: answer (a segment of one step)" in result.stdout


def test_mermaid() -> None:
    result = explain(EXAMPLE, "--format", "mermaid")
    assert result.exit_code == 0
    assert result.stdout.startswith("flowchart TD\n")
    assert result.stdout.count(' -- "') == 7


def test_json() -> None:
    result = explain(EXAMPLE, "--format", "json")
    answer = json.loads(result.stdout)
    assert answer["diagnostics"] == []
    assert [unit["id"] for unit in answer["explanation"]["units"]] == ["segment.classify_intent"]


@pytest.mark.parametrize("output_format", ["text", "mermaid", "json"])
def test_errors(tmp_path: Path, output_format: str) -> None:
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(workflow(transform("a", next=["b"]))))
    result = explain(path, "--format", output_format)
    assert result.exit_code == 1
    assert "unknown_task" in result.stdout
    if output_format == "json":
        assert json.loads(result.stdout)["explanation"] is None


def test_warnings_are_no_part_of_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    task = {"id": "a", "type": "conditional", "config": {"conditions": [{"if": "{{ true }}", "then": "b"}]}}
    path.write_text(json.dumps(workflow(task, transform("b"))))
    result = explain(path, "--format", "mermaid")
    assert result.exit_code == 0
    assert "no_default_branch" in result.stderr
    assert "no_default_branch" not in result.stdout


def test_a_file_that_is_not_there() -> None:
    assert explain("no/such/file.json").exit_code == 2
