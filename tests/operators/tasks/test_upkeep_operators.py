"""The operators of upkeep: what the control plane answers, and which logs go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from operators.settings import SettingsError, airflow_retention_days
from operators.tasks.old_logs import DAY, remove_old_logs
from operators.tasks.upkeep import UpkeepOperator
from tests.support import free_ports

pytestmark = pytest.mark.unit

NOW = 2_000_000_000.0


class ControlPlane(HTTPServer):
    """Answers every job with what a test says."""

    answer: tuple[int, dict[str, Any]] = (200, {"counts": {}})
    asked: list[tuple[str, str]]


class _Handler(BaseHTTPRequestHandler):
    server: ControlPlane

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.headers["authorization"]))
        status, body = self.server.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(orjson.dumps(body))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def control_plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[ControlPlane]:
    with ControlPlane(("127.0.0.1", 0), _Handler) as server:
        server.asked = []
        monkeypatch.setenv("AGENT_FACTORY_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "token")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def do_job() -> None:
    UpkeepOperator(task_id="t", job="retention").execute({})  # type: ignore[arg-type]


class TestUpkeep:
    def test_the_counts_are_logged(self, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture) -> None:
        control_plane.answer = (200, {"counts": {"months_dropped": 2, "executions": 700}})
        with caplog.at_level("INFO", "operators.tasks.upkeep"):
            do_job()
        assert control_plane.asked == [("/runtime/v1/upkeep/retention", "Bearer token")]
        assert [record.getMessage() for record in caplog.records[-2:]] == ["months_dropped: 2", "executions: 700"]

    def test_what_was_done_in_part_is_a_failure(
        self, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
    ) -> None:
        control_plane.answer = (200, {"counts": {"removed": 2, "failed": 1}})
        with (
            caplog.at_level("INFO", "operators.tasks.upkeep"),
            pytest.raises(AirflowException, match="in part: 1 failed"),
        ):
            do_job()
        assert "removed: 2" in caplog.text

    def test_what_cannot_be_done_here_is_skipped_with_its_reason(self, control_plane: ControlPlane) -> None:
        control_plane.answer = (409, {"detail": "set it"})
        with pytest.raises(AirflowSkipException, match="set it"):
            do_job()

    def test_a_failure_is_tried_again(self, control_plane: ControlPlane) -> None:
        control_plane.answer = (503, {"detail": "no"})
        with pytest.raises(AirflowException, match="could not do 'retention': HTTP 503"):
            do_job()

    def test_nobody_answers(self, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_API_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
        with pytest.raises(AirflowException, match="did not answer: ConnectError"):
            do_job()


class TestOldLogs:
    def write(self, path: Path, age_in_days: float) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
        os.utime(path, (NOW - age_in_days * DAY,) * 2)
        return path

    def test_by_age(self, tmp_path: Path) -> None:
        tasks, processor = tmp_path / "tasks", tmp_path / "processor"
        gone = [
            self.write(tasks / "dag_id=a" / "run_id=old" / "attempt=1.log", 31),
            self.write(tasks / "dag_id=agent-factory.reconcile" / "run_id=old" / "attempt=1.log", 2),
            self.write(processor / "2026-01-01" / "a.log", 31),
        ]
        kept = [
            self.write(tasks / "dag_id=a" / "run_id=new" / "attempt=1.log", 29),
            self.write(tasks / "dag_id=agent-factory.reconcile" / "run_id=new" / "attempt=1.log", 0.5),
            self.write(tasks / "other" / "old.log", 31),
            self.write(processor / "2026-01-02" / "a.log", 1),
            self.write(tmp_path / "elsewhere" / "a.log", 31),
        ]
        (tasks / "dag_id=a" / "link").symlink_to(tmp_path / "elsewhere")
        assert remove_old_logs(tasks, processor, 30, NOW) == len(gone)
        assert not any(file.parent.exists() for file in gone)
        assert all(file.exists() for file in kept)
        assert remove_old_logs(tasks, processor, 30, NOW) == 0

    def test_no_folder(self, tmp_path: Path) -> None:
        assert remove_old_logs(tmp_path / "tasks", tmp_path / "processor", 30, NOW) == 0


@pytest.mark.parametrize(("value", "days"), [({}, 30), ({"AGENT_FACTORY_AIRFLOW_RETENTION_DAYS": "7"}, 7)])
def test_the_days(value: dict[str, str], days: int) -> None:
    assert airflow_retention_days(value) == days


@pytest.mark.parametrize("value", ["1", "-3", "soon", "2.5"])
def test_days_that_are_none(value: str) -> None:
    with pytest.raises(SettingsError, match=f"at least 2; got '{value}'"):
        airflow_retention_days({"AGENT_FACTORY_AIRFLOW_RETENTION_DAYS": value})
