"""``docs/diagnostics.md``: a section a code, and every example does what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from compiler import compile_workflow
from compiler.diagnostics import Code
from tests.compiler.building import transform, workflow

pytestmark = pytest.mark.unit

PAGE = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def examples(code: str) -> tuple[str, str]:
    wrong, right = re.findall(r"^(?:Wrong|Right):\n\n```json\n(.*?)^```", SECTIONS[code], re.MULTILINE | re.DOTALL)
    return wrong, right


def reported(example: str) -> list[str]:
    """Compile an example with what the page says is left out put in front, so that the text stays as it is."""
    given = json.loads(example)
    rest = {key: value for key, value in workflow(transform("a")).items() if key not in given}
    joined = json.dumps(rest)[:-1] + ", " + example.strip()[1:]
    return [diagnostic.code for diagnostic in compile_workflow(joined, organization="acme").diagnostics]


def test_a_section_for_each_code() -> None:
    assert list(SECTIONS) == list(get_args(Code))


@pytest.mark.parametrize("code", SECTIONS)
def test_wrong(code: str) -> None:
    assert code in reported(examples(code)[0])


@pytest.mark.parametrize("code", SECTIONS)
def test_right(code: str) -> None:
    # Maps do not run yet, so their right example still says so.
    later = {"unavailable_type"} if code == "nested_map" else set()
    assert set(reported(examples(code)[1])) <= later
