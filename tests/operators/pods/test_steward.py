"""The steward's results: whole, bounded each and together, and handed out in pieces."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.pods.inside import steward as program
from operators.pods.spec import STEWARD_MEMORY, TALK_MEMORY, TALKS

pytestmark = pytest.mark.unit


@pytest.fixture
def steward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> program.Steward:
    monkeypatch.setattr(program, "STATE", str(tmp_path))
    return program.Steward()


def finish(steward: program.Steward, job: str, result: bytes, limit: int = 1_000_000) -> bytes:
    """Have a job done whose result comes over a stream; return what is kept."""
    steward.submit(job, io.BytesIO(), 0)
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
    steward.submit("a1", io.BytesIO(), 0)
    steward.take()
    with pytest.raises(program.BrokenError):
        steward.finish("a1", {"size": size}, io.BytesIO(b"x" * 10), 1_000_000)
    assert not (tmp_path / "a1").exists()


class TestWhatWaits:
    def state(self, steward: program.Steward, job: str) -> tuple[str, str]:
        answer = steward.wait(job, 0)
        return answer["state"], answer["lost"]

    def test_where_the_program_is_gone_what_ran_is_lost_and_what_waited_has_not_begun(
        self, steward: program.Steward
    ) -> None:
        finish(steward, "a1", b"x")
        for job in ("b2", "c3"):
            steward.submit(job, io.BytesIO(), 0)
        steward.take()
        steward.give_up("BrokenError")
        steward.submit("d4", io.BytesIO(b"xy"), 2)
        states = {job: self.state(steward, job) for job in ("a1", "b2", "c3", "d4")}
        assert states == {"a1": ("done", "b2"), "b2": ("lost", "b2"), "c3": ("unbegun", "b2"), "d4": ("unbegun", "b2")}

    def test_a_request_is_taken_once_and_read_in_any_case(self, steward: program.Steward, tmp_path: Path) -> None:
        for _ in range(2):
            stream = io.BytesIO(b"request, next")
            steward.submit("a1", stream, 7)
            assert stream.read() == b", next"
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"request"]
        job, path = steward.take()
        steward.discard(path, 7)
        assert (job, list(tmp_path.iterdir())) == ("a1", [])

    def test_there_is_room_for_so_much(
        self, steward: program.Steward, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(program, "QUEUE_LIMIT", 10)
        for job in ("a1", "b2"):
            steward.submit(job, io.BytesIO(b"request"), 7)
        assert [self.state(steward, job)[0] for job in ("a1", "b2")] == ["queued", "unknown"]
        steward.discard(steward.take()[1], 7)
        steward.submit("b2", io.BytesIO(b"request"), 7)
        assert self.state(steward, "b2")[0] == "queued"

    def test_a_request_that_breaks_off_leaves_nothing(self, steward: program.Steward, tmp_path: Path) -> None:
        with pytest.raises(program.BrokenError):
            steward.submit("a1", io.BytesIO(b"requ"), 7)
        assert (self.state(steward, "a1")[0], list(tmp_path.iterdir())) == ("unknown", [])


class TestMemory:
    """The steward as a process of its own, between a keeper and the platform that are played here."""

    INPUT = 16_000_000

    @pytest.fixture
    def process(self, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
        source = Path(program.__file__).read_text().replace('"/agent-factory/', f'"{tmp_path}/')
        (tmp_path / "steward.py").write_text(source)
        for name in ("given", "state", "results"):
            (tmp_path / name).mkdir()
        with subprocess.Popen([sys.executable, "-I", "-S", "-B", str(tmp_path / "steward.py")]) as process:
            yield process
            process.terminate()

    def connected(self, path: Path) -> Any:
        for _ in range(200):
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
            except OSError:
                connection.close()
                time.sleep(0.05)
            else:
                with connection:
                    return connection.makefile("rwb")
        raise AssertionError(f"nobody listens at {path}")

    def test_large_requests_wait_outside_of_it(self, process: subprocess.Popen[bytes], tmp_path: Path) -> None:
        header = b'{"timeout": 60, "result_limit": 1000}\n'
        requests = {f"a{number}": header + bytes([number]) * self.INPUT for number in range(TALKS)}
        with self.connected(tmp_path / "state/steward.sock") as client:
            for job, request in requests.items():
                question = {"op": "run", "job": job, "size": len(request)}
                client.write(json.dumps(question).encode() + b"\n" + request)
                client.flush()
                assert client.readline() == b'{"size": 0}\n'
            with self.connected(tmp_path / "given/keeper.sock") as keeper:
                keeper.write(b"{}\n")
                for job, request in requests.items():
                    keeper.flush()
                    assert keeper.read(len(request)) == request, job
                    keeper.write(b'{"reason": "ended", "size": 2}\nok')
                keeper.flush()
                client.write(b'{"op": "wait", "job": "a3", "seconds": 20}\n')
                client.flush()
                assert json.loads(client.readline())["state"] == "done"
        assert sorted(path.name for path in (tmp_path / "state").glob("a*")) == sorted(requests)
        most = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        assert most is not None
        # What it has beside the connections that `exec` brings.
        assert int(most[1]) * 1024 < STEWARD_MEMORY - 2 * TALKS * TALK_MEMORY


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
