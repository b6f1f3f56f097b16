"""Known secrets are masked in what containers print: in lines, in tails, and in the words of failures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from operators.execution.records import PodSettings, PodTiming
from operators.pods.failures import PodFailedError
from operators.pods.jobs import result_of_keeper
from operators.pods.masking import MASK, Masker
from operators.pods.output import BEFORE, OUTPUT_LIMIT, last_lines, new_lines
from operators.pods.pool import PodPool
from operators.pods.visit import Visit
from operators.sandbox.sandbox import JobFailedError
from operators.sandbox.watch import TAIL
from operators.steps.base import StepKey, Waiting
from tests.operators.pods.test_warm_pods import PYTHON, job_of

pytestmark = pytest.mark.unit

KEY = "sk-secret-0123456789"
PEM = "-----BEGIN KEY-----\nMIIBVgIBADANBg\nkqhkiG9w0BAQEF\n-----END KEY-----"


@pytest.mark.parametrize(
    ("secrets", "text", "masked"),
    [
        ([], KEY, KEY),
        ([KEY], f"key={KEY}, again {KEY}", "key=***, again ***"),
        ([f"{KEY}\n"], f"<{KEY}>", "<***>"),
        # One is a part of the other, whichever comes first.
        ([KEY, f"{KEY}-more"], f"{KEY}-more", MASK),
        ([f"{KEY}-more", KEY], f"{KEY} {KEY}-more", "*** ***"),
        ([PEM], "found MIIBVgIBADANBg here", "found *** here"),
        ([PEM], PEM, MASK),
        (['pass"word\\1'], json.dumps({"key": 'pass"word\\1'}), '{"key": "***"}'),
        (["pässwörd"], json.dumps(["pässwörd"]), '["***"]'),
        (["a.*b+c"], "a.*b+c aXXbbc", "*** aXXbbc"),
        # Short ones stand in many words.
        (["12345"], "12345", "12345"),
        (["123456"], "123456", MASK),
        (["", " "], "a b", "a b"),
        # Cut off where the text begins or ends.
        ([KEY], f"{KEY[5:]} and {KEY[:9]}", "*** and ***"),
        ([KEY], KEY[:9], MASK),
        ([KEY], KEY[9:], MASK),
        (["ababab-ababab"], "x ababab-abab", "x ***"),
        ([KEY], f"x{KEY[5:]} and {KEY[:9]}x", f"x{KEY[5:]} and {KEY[:9]}x"),
    ],
)
def test_texts(secrets: list[str], text: str, masked: str) -> None:
    assert Masker(secrets)(text) == masked


@pytest.mark.parametrize("secret", [KEY, PEM])
def test_across_the_borders_of_what_was_fetched(secret: str) -> None:
    """Whoever looks may come in the middle of a line; what is shown is made of whole ones."""
    output, mask = f"before\n{secret}\nafter\n".encode(), Masker([secret])
    for size in range(len(output)):
        first, shown = new_lines(output[:size], 0, mask, last=False)
        then, _ = new_lines(output, shown, mask, last=True)
        lines = [*first, *then]
        assert (lines[0], lines[-1]) == ("| before", "| after")
        assert set(lines[1:-1]) == {"| ***"}


@pytest.mark.parametrize("left", [7, 15])
def test_where_the_output_is_cut(left: int) -> None:
    output = (b"x" * (OUTPUT_LIMIT - left) + KEY.encode())[:OUTPUT_LIMIT]
    lines, _ = new_lines(output, 0, Masker([KEY]), last=False)
    assert KEY[:left] not in "".join(lines)


def keepers(tail: str, result: bytes, exit_code: int = 0) -> bytes:
    """Return what a steward keeps of a job."""
    answer = {"reason": "ended", "exit_code": exit_code, "peak_memory": 0, "tail": tail, "ran": 0.5}
    return json.dumps(answer).encode() + b"\n" + result


class TestStepsThatShareAPod:
    def test_what_one_printed_is_told(self) -> None:
        told: list[str] = []
        result = result_of_keeper(
            job_of(PYTHON), keepers("a\nb\n", b"R1"), PodTiming(), lambda tail: told.append(tail) or tail
        )
        assert (result.output, told) == (1, ["a\nb\n"])

    def test_its_tail_is_masked_in_its_failure(self) -> None:
        with pytest.raises(JobFailedError) as failure:
            result_of_keeper(job_of(PYTHON), keepers(f"{KEY}\n", b"", 1), PodTiming(), Masker([KEY]))
        assert failure.value.message.endswith("It printed last:\n***")

    def test_the_lines_that_are_shown(self) -> None:
        assert last_lines("") == []
        assert last_lines("one\n::group::x\x1b\n") == ["| one", "| ::group::x\N{REPLACEMENT CHARACTER}"]
        assert last_lines("x" * TAIL) == [BEFORE, "| " + "x" * TAIL]


async def asked_settings() -> PodSettings:
    return PodSettings(namespace="n", runner_image="runner:1")


async def known_secrets() -> list[str]:
    return [KEY]


@pytest.mark.parametrize(
    "error",
    [
        JobFailedError("code_error", f"ValueError: {KEY}", retryable=True),
        PodFailedError("exit_code", f"cannot run {KEY}", retryable=False),
    ],
)
async def test_no_failure_repeats_a_secret(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: Visit) -> None:
        raise error

    monkeypatch.setattr(Visit, "run", fail)
    pool = PodPool(lambda namespace: cast("Any", None), asked_settings, unit="u", deadline_seconds=60)
    pool.secrets = known_secrets
    now = datetime.now(UTC)
    with pytest.raises(type(error)) as seen:
        await pool.look(job_of(PYTHON), Waiting(StepKey("x", 0, "a"), now), now)
    assert (seen.value.code, KEY in seen.value.message, KEY in str(seen.value)) == (error.code, False, False)
    assert MASK in seen.value.message
