"""What of a container's output is shown, and that each line is shown once."""

from __future__ import annotations

import pytest

from operators.pods.masking import Masker
from operators.pods.output import CUT, OUTPUT_LIMIT, new_lines, shown_bytes

pytestmark = pytest.mark.unit


def test_each_line_once_and_whole() -> None:
    lines, shown = new_lines(b"one\ntw", 0, Masker(), last=False)
    assert lines == ["| one"]
    lines, shown = new_lines(b"one\ntwo\nthr", shown, Masker(), last=False)
    assert lines == ["| two"]
    assert new_lines(b"one\ntwo\nthr", shown, Masker(), last=False) == ([], shown)
    assert new_lines(b"one\ntwo\nthr", shown, Masker(), last=True) == (["| thr"], 11)


def test_bounded() -> None:
    output = b"x" * OUTPUT_LIMIT
    lines, shown = new_lines(output, 0, Masker(), last=False)
    assert (lines[-1], shown) == (CUT, OUTPUT_LIMIT)
    assert new_lines(output, shown, Masker(), last=True) == ([], shown)


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"\x1b[2Jgone\n", "| \ufffd[2Jgone"),
        (b"::endgroup::\n", "| ::endgroup::"),
        (b"\xff\xfe\n", "| \ufffd\ufffd"),
        ("\u202ereversed\n".encode(), "| \ufffdreversed"),
    ],
)
def test_it_steers_nothing(printed: bytes, line: str) -> None:
    assert new_lines(printed, 0, Masker(), last=True)[0] == [line]


@pytest.mark.parametrize("text", ["", "x", "-1", "\u0663"])
def test_a_note_that_is_no_number_is_none(text: str) -> None:
    assert shown_bytes({"agent-factory/shown": text}) == 0
