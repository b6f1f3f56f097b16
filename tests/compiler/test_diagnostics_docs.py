"""``docs/diagnostics``: a page a code, and every example does what its page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from compiler import check_workflow, compile_workflow
from compiler.diagnostics import Code, Diagnostic
from compiler.resolve import every_task
from compiler.steps import STEP_TYPES
from tests.compiler.building import transform, workflow

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[2] / "docs" / "diagnostics"
CODES: tuple[str, ...] = get_args(Code)
OF_THE_CONTROL_PLANE = {"unknown_version"}
"""What the compiler by itself cannot see."""


def page(code: str) -> str:
    return (FOLDER / f"{code}.md").read_text()


def examples(code: str) -> tuple[str, str]:
    found = re.findall(r"^## (?:Wrong|Right)\n\n```json\n(.*?)^```", page(code), re.MULTILINE | re.DOTALL)
    wrong, right = found
    return wrong, right


def completed(example: str) -> str:
    """Put what the pages leave out in front of an example, so that its text stays as it is."""
    given = json.loads(example)
    rest = {key: value for key, value in workflow(transform("a")).items() if key not in given}
    return json.dumps(rest)[:-1] + ", " + example.strip()[1:]


def reported(example: str) -> list[Diagnostic]:
    return compile_workflow(completed(example), organization="acme").diagnostics


def types_of(example: str) -> set[str]:
    checked: Any = check_workflow(completed(example), for_run=False).workflow
    return {task.type for task in every_task(checked.workflow.tasks)}


def test_a_page_for_each_code_and_no_other() -> None:
    assert {path.stem for path in FOLDER.glob("*.md")} - {"README"} == set(CODES)


def test_the_index_lists_the_codes_in_their_order() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| ", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert rows == [(code, code) for code in CODES]


@pytest.mark.parametrize("code", CODES)
def test_form(code: str) -> None:
    text = page(code)
    assert text.startswith(f"# {code}\n\nSeverity: ")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Wrong", "Right", "How to fix it"]
    assert "\n- " in text.partition("## How to fix it")[2]


@pytest.mark.parametrize("code", [code for code in CODES if code not in OF_THE_CONTROL_PLANE])
def test_wrong(code: str) -> None:
    found = [diagnostic for diagnostic in reported(examples(code)[0]) if diagnostic.code == code]
    assert found
    severity = page(code).splitlines()[2]
    assert found[0].severity in severity


@pytest.mark.parametrize("code", CODES)
def test_right(code: str) -> None:
    right = examples(code)[1]
    # What a page shows may be of a type that does not run yet; then it still says so.
    later = {"unavailable_type"} if any(not STEP_TYPES[name].available for name in types_of(right)) else set()
    assert {diagnostic.code for diagnostic in reported(right)} <= later
