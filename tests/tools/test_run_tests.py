"""``make test`` leaves no test out: each is in a folder that a run of its tier goes through."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.run_tests import lanes

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
TIERS = {"unit", "platform", "kubernetes", "browser"}


def marked() -> list[tuple[str, str]]:
    """Each file of tests and a tier that it has tests of."""
    return [
        (str(path.relative_to(ROOT)), tier)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for tier in sorted(TIERS & set(re.findall(r"pytest\.mark\.(\w+)", path.read_text(encoding="utf-8"))))
    ]


def goes_through(options: tuple[str, ...], file: str) -> bool:
    """Tell whether a run with these options of pytest finds a file."""
    given = [option for option in options if option.startswith("tests/")] or ["tests"]
    ignored = [option.removeprefix("--ignore=") for option in options if option.startswith("--ignore=")]
    return any(map(Path(file).is_relative_to, given)) and not any(map(Path(file).is_relative_to, ignored))


def test_every_file_is_in_one_run_of_its_tier() -> None:
    runs = [run for lane in lanes() for run in lane]
    files = marked()
    assert len(files) > 200
    assert {tier for _, tier in files} == TIERS
    for file, tier in files:
        found = [run.name for run in runs if run.tier == tier and goes_through(run.options, file)]
        assert len(found) == 1, f"{file} ({tier}): {found}"
