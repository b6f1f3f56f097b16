"""The listener of ended runs: what it tells, and that Airflow never waits for it."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from plugins import listener
from plugins.agent_factory import AgentFactoryPlugin

pytestmark = pytest.mark.unit

OURS = {"agent-factory", "org:acme", "plan:0123456789ab"}


def run(dag_id: str = "acme__greet", run_id: str = "run-1", tags: set[str] | None = OURS) -> Any:
    """A run as Airflow hands it over; without tags, one whose DAG is not at hand."""
    return SimpleNamespace(dag_id=dag_id, run_id=run_id, dag=None if tags is None else SimpleNamespace(tags=tags))


class Control:
    """A stub of the control plane's call; ``again`` is what it asks for once more, ``hold`` keeps its answers."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []
        self.again: list[str] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.asked = threading.Semaphore(0)
        control = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                assert self.path == "/runtime/v1/runs/ended"
                assert self.headers["authorization"] == "Bearer token"
                control.heard.append([each["run_id"] for each in body["runs"]])
                control.asked.release()
                control.hold.wait(20)
                wanted = [{"dag_id": "acme__greet", "run_id": run_id} for run_id in control.again]
                answer = json.dumps({"again": wanted, "seconds": 0.01}).encode()
                self.send_response(control.status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, calls: int = 1) -> None:
        """Wait for calls."""
        for _ in range(calls):
            assert self.asked.acquire(timeout=20), self.heard


@pytest.fixture
def control(monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    control = Control()
    monkeypatch.setenv("AGENT_FACTORY_API_URL", f"http://127.0.0.1:{control.server.server_port}")
    monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "token")
    monkeypatch.setattr(listener, "GATHER_SECONDS", 0.2)
    monkeypatch.setattr(listener, "_teller", listener.Teller())
    yield control
    control.hold.set()
    end(listener._teller)
    control.server.shutdown()
    control.server.server_close()


def end(teller: listener.Teller) -> None:
    """Wait until everything was sent."""
    thread = teller._thread
    if thread is not None:
        thread.join(20)
        assert not thread.is_alive()


def test_airflow_finds_it() -> None:
    assert list(AgentFactoryPlugin.listeners) == [listener]
    for hook in ("on_dag_run_success", "on_dag_run_failed"):
        assert hasattr(getattr(listener, hook), "airflow_impl")


@pytest.mark.parametrize("tags", [OURS, None], ids=["dag_at_hand", "no_dag"])
def test_tells_of_our_runs_together(control: Control, tags: set[str] | None) -> None:
    listener.on_dag_run_success(run(tags=tags), "m")
    listener.on_dag_run_failed(run(run_id="run-2", tags=tags), "m")
    control.wait()
    assert control.heard == [["run-1", "run-2"]]


@pytest.mark.parametrize(
    "other",
    [
        run("agent-factory.reconcile", tags={"agent-factory", "upkeep"}),
        run("agent_factory__release", tags={"agent-factory"}),
        run("acme__greet", tags={"agent-factory", "org:other"}),
        run("acme__greet", tags=set()),
        run("somebodys_dag", tags=None),
    ],
    ids=["upkeep", "sentinel", "other_organisation", "untagged", "foreign"],
)
def test_tells_of_no_other(control: Control, other: Any) -> None:
    listener.on_dag_run_failed(other, "m")
    listener.on_dag_run_failed(run(run_id="last"), "m")
    control.wait()
    assert control.heard == [["last"]]


def test_tells_again_of_what_is_asked_for_but_not_for_ever(control: Control) -> None:
    control.again = ["run-1"]
    listener.on_dag_run_failed(run(), "m")
    control.wait(listener.MOST_TIMES)
    end(listener._teller)
    assert control.heard == [["run-1"]] * listener.MOST_TIMES


def test_a_new_thread_begins_after_the_last_has_ended(control: Control) -> None:
    for name in ("one", "two"):
        listener.on_dag_run_failed(run(run_id=name), "m")
        control.wait()
        end(listener._teller)
    assert control.heard == [["one"], ["two"]]


def test_a_control_plane_that_hangs_keeps_nobody_waiting(control: Control) -> None:
    control.hold.clear()
    listener.on_dag_run_failed(run(run_id="first"), "m")
    control.wait()
    # The thread hangs in its call now; the scheduler's goes on.
    for number in range(3):
        listener.on_dag_run_failed(run(run_id=str(number)), "m")
    assert control.heard == [["first"]]
    control.hold.set()
    control.wait()
    assert control.heard[1] == ["0", "1", "2"]


def test_errors_are_logged_once_and_go_no_further(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    control.status = 500
    with caplog.at_level(logging.WARNING):
        for name in ("one", "two"):
            listener.on_dag_run_failed(run(run_id=name), "m")
            control.wait()
            end(listener._teller)
        listener.on_dag_run_failed(SimpleNamespace(dag_id=None), "m")
    messages = [record.getMessage() for record in caplog.records if record.name == "plugins.listener"]
    assert messages == [
        "the control plane was not told of ended runs: HTTPError",
        "a run's end was not noted: TypeError",
    ]


def test_no_more_are_kept_than_there_is_room_for(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_WAITING", 2)
    for number in range(5):
        listener.on_dag_run_failed(run(run_id=str(number)), "m")
    control.wait()
    assert control.heard == [["0", "1"]]
