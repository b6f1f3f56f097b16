"""``agent-factory new``: the templates work, and no file is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main
from api.templates.library import TEMPLATES
from api.templates.scaffolding import scaffold
from compiler import compile_workflow, validate_workflow
from compiler.diagnostics import Diagnostic
from compiler.steps import STEP_TYPES
from compiler.triggers import TRIGGER_TYPES
from operators.execution.local import LocalResult, run_plan
from operators.execution.records import ModelCredential
from operators.execution.stubs import Stubs

pytestmark = pytest.mark.unit


def new(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["new", *map(str, arguments)])


def unavailable(workflow: dict[str, Any]) -> set[str]:
    """Return the types of a workflow that do not run in this version, each with where it stands."""
    triggers = [workflow["trigger"]] if "trigger" in workflow else workflow["triggers"]
    return {task["type"] for task in workflow["tasks"] if not STEP_TYPES[task["type"]].available} | {
        trigger["type"] for trigger in triggers if not TRIGGER_TYPES[trigger["type"]].available
    }


def is_about(diagnostic: Diagnostic, workflow: dict[str, Any]) -> str:
    """Return the value a diagnostic points at."""
    value: Any = workflow
    for part in diagnostic.path.split("/")[1:]:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return str(value)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_compiles_as_far_as_this_version_goes(template: str) -> None:
    source = scaffold(TEMPLATES[template].source, "my_flow", "My flow")
    workflow = json.loads(source)
    found = compile_workflow(source, organization="acme").diagnostics
    assert {diagnostic.code for diagnostic in found} <= {"unavailable_type", "unavailable_feature"}
    assert {is_about(diagnostic, workflow) for diagnostic in found} == unavailable(workflow)


async def run(template: str, given: Any, stubs: dict[str, Any] | None = None, **fields: Any) -> LocalResult | None:
    """Run a template with the test model; None where its tasks do not run in this version."""
    workflow = json.loads(scaffold(TEMPLATES[template].source, "my_flow", "My flow"))
    workflow.pop("triggers", None)
    workflow["trigger"] = {"type": "manual"}
    if unavailable(workflow):
        return None
    compilation = compile_workflow(json.dumps(workflow), organization="acme")
    assert compilation.plan is not None, compilation.diagnostics

    async def no_key(provider: str) -> ModelCredential:
        return ModelCredential(provider=provider)

    return await run_plan(compilation.plan, input=given, stubs=Stubs(stubs), credentials=no_key, **fields)


async def test_support_triage_answers_by_topic() -> None:
    billing = await run("support_triage", TEMPLATES["support_triage"].example)
    assert billing is not None
    assert billing.status == "success"
    assert (billing.output["topic"], billing.output["automatic"]) == ("billing", True)
    other = await run("support_triage", {"message": "Hello"})
    assert other is not None
    assert (other.output["topic"], other.output["automatic"]) == ("other", False)
    assert other.steps["reply"].status == "success"


async def test_support_triage_without_a_model_goes_to_a_person() -> None:
    result = await run("support_triage", {"message": "Hello"}, {"classify": [{"error": "x"}] * 3})
    assert result is not None
    assert result.steps["classify"].attempts == 3
    assert result.output["text"].startswith("Thank you.")


async def test_document_extraction_compares_the_lines_with_the_total() -> None:
    def read(*amounts: float) -> dict[str, Any]:
        lines = [{"text": "x", "amount": amount} for amount in amounts]
        return {"extract": {"supplier": "Acme", "total": 15.5, "lines": lines}}

    example = TEMPLATES["document_extraction"].example
    for stubs, state in (
        (read(10, 5.5), "complete"),
        (read(10), "to_check"),
        ({"extract": [{"error": "x"}] * 3}, "unreadable"),
    ):
        result = await run("document_extraction", example, stubs)
        assert result is not None
        assert (result.status, result.output["state"]) == ("success", state)
    answered = await run("document_extraction", example)
    assert answered is not None
    assert answered.status == "success"


async def test_daily_report_needs_only_its_schedule() -> None:
    schedule = json.loads(scaffold(TEMPLATES["daily_report"].source, "my_flow", "My flow"))["triggers"][1]
    result = await run("daily_report", schedule["config"]["input"])
    assert result is not None
    assert result.status == "success"
    assert result.output["report"]["totals"] == {"shops": 2, "orders": 19, "sales": 690.5}
    assert result.output["report"]["text"]


async def test_refunds() -> None:
    small = await run("refund_approval", TEMPLATES["refund_approval"].example)
    if small is not None:
        assert small.output == {"refund": 12.5, "order": "A-1001"}
    answer = {"decision": "approve", "comment": None, "by": "ada", "at": "2026-01-01T00:00:00Z"}
    for decision, refund in (("approve", 90), ("reject", 0)):
        stubs = {"summarise": {"text": "It broke."}, "ask": {**answer, "decision": decision}}
        large = await run("refund_approval", {"order": "A-1", "amount": 90}, stubs)
        if large is not None:
            assert (large.status, large.output["refund"]) == ("success", refund)


async def test_tickets() -> None:
    made = {"status": 201, "headers": {}, "json": {"id": 7}}
    address = {"ticket_url": "http://127.0.0.1:9/tickets"}
    for stub, output in (
        (made, {"ticket": 7, "state": "made"}),
        ([{"error": "down"}] * 5, {"ticket": None, "state": "kept", "reason": "stubbed_error"}),
    ):
        result = await run("webhook_to_ticket", {"service": "shop"}, {"create_ticket": stub}, vars=address)
        if result is not None:
            assert (result.status, result.output) == ("success", output)


def test_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = new("first_line", "--template", "support_triage")
    assert result.exit_code == 0
    assert "Wrote first_line.json" in result.stdout
    workflow = json.loads((tmp_path / "first_line.json").read_text())
    assert (workflow["id"], workflow["name"]) == ("first_line", "First line")
    assert workflow["trigger"]["config"]["path"] == "first-line"
    assert not validate_workflow((tmp_path / "first_line.json").read_bytes())


def test_no_file_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text("mine")
    result = new("mine", "--template", "daily_report", "--out", path)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert path.read_text() == "mine"
    assert new("mine", "--template", "daily_report", "--out", path, "--force").exit_code == 0
    assert json.loads(path.read_text())["id"] == "mine"


@pytest.mark.parametrize("name", ["My-Flow", "../x", "", "a b", "1st", "x" * 64, 'a"'])
def test_a_name_must_be_an_identifier(name: str, tmp_path: Path) -> None:
    result = new(name, "--template", "daily_report", "--out", tmp_path / "x.json")
    assert result.exit_code == 2
    assert "must be a-z" in result.stderr
    assert not list(tmp_path.iterdir())


def test_the_longest_name(tmp_path: Path) -> None:
    for template in TEMPLATES:
        source = scaffold(TEMPLATES[template].source, "x" * 63, "X")
        assert not [found for found in validate_workflow(source) if found.severity == "error"]


def test_the_list() -> None:
    result = new("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(TEMPLATES)


def test_what_is_needed() -> None:
    assert new("mine").exit_code == 2
    assert new("--template", "daily_report").exit_code == 2
    assert new("mine", "--template", "nonsense").exit_code == 2
