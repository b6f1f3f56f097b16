"""The order in which Airflow starts waiting tasks: by the age of their run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from operators.tasks import priority
from operators.tasks.priority import EPOCH, OldestRunFirst
from operators.tasks.segment import OLDEST_RUN_FIRST

pytestmark = pytest.mark.unit


def weight(now: int, monkeypatch: pytest.MonkeyPatch, has: int | None = None) -> int:
    monkeypatch.setattr(priority.time, "time", lambda: now + 0.9)
    ti: Any = SimpleNamespace(priority_weight=has)
    return OldestRunFirst().get_weight(ti)


def test_older_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weight(EPOCH + 5, monkeypatch) == -5
    assert weight(EPOCH + 5, monkeypatch) > weight(EPOCH + 6, monkeypatch)


def test_a_task_keeps_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weight(EPOCH + 500, monkeypatch, has=-5) == -5


def test_fits_into_32_bits_for_decades(monkeypatch: pytest.MonkeyPatch) -> None:
    assert weight(EPOCH + 60 * 366 * 86400, monkeypatch) > -(2**31)


def test_is_found_by_its_name() -> None:
    assert f"{OldestRunFirst.__module__}.{OldestRunFirst.__qualname__}" == OLDEST_RUN_FIRST
