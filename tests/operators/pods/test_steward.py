"""The steward's results: whole, bounded each and together, and handed out in pieces."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from operators.pods.inside import steward as program

pytestmark = pytest.mark.unit


@pytest.fixture
def steward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> program.Steward:
    monkeypatch.setattr(program, "STATE", str(tmp_path))
    return program.Steward()


def finish(steward: program.Steward, job: str, result: bytes, limit: int = 1_000_000) -> bytes:
    """Have a job done whose result comes over a stream; return what is kept."""
    steward.submit(job, b"")
    steward.take()
    steward.finish(job, {"reason": "ended", "size": len(result)}, io.BytesIO(result + b"more"), limit)
    answer, file = program.reply(steward, {"op": "wait", "job": job, "seconds": 0}, None)
    assert answer["state"] == "done"
    with file:
        kept: bytes = file.read()
    return kept


def test_a_result_is_kept_as_it_came(steward: program.Steward) -> None:
    result = os.urandom(600_000)
    line, _, kept = finish(steward, "a1", result).partition(b"\n")
    assert kept == result
    assert b'"reason": "ended"' in line


def test_of_all_results_together_so_many_are_kept(steward: program.Steward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "KEPT_LIMIT", 1_500)
    assert finish(steward, "a1", b"x" * 1_000).endswith(b"x" * 1_000)
    line, _, kept = finish(steward, "a2", b"x" * 1_000).partition(b"\n")
    assert (kept, b'"reason": "results_too_large"' in line) == (b"", True)
    assert finish(steward, "a3", b"x" * 10).endswith(b"x" * 10)


@pytest.mark.parametrize("size", [-1, 1_000_001, "1", None, True, 20])
def test_a_size_that_is_none(steward: program.Steward, size: object, tmp_path: Path) -> None:
    steward.submit("a1", b"")
    steward.take()
    with pytest.raises(program.BrokenError):
        steward.finish("a1", {"size": size}, io.BytesIO(b"x" * 10), 1_000_000)
    assert not (tmp_path / "a1").exists()


def test_a_file_of_a_container(tmp_path: Path) -> None:
    (tmp_path / "output.json").write_bytes(b"x" * 100)
    answer, file = program.take_file("output.json", str(tmp_path), limit=100)
    with file:
        assert (answer, file.read()) == ({"state": "file"}, b"x" * 100)
    assert program.take_file("output.json", str(tmp_path), limit=99) == ({"state": "too_large"}, None)
    assert program.take_file("none", str(tmp_path), limit=99) == ({"state": "missing"}, None)
    (tmp_path / "link").symlink_to("output.json")
    os.mkfifo(tmp_path / "pipe")
    os.link(tmp_path / "output.json", tmp_path / "second")
    for name in ("link", "pipe", "second", "."):
        answer, file = program.take_file(name, str(tmp_path), limit=100)
        assert (answer["state"], file) == ("refused", None)
