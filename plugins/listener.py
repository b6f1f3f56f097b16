"""Tells the control plane of runs of ours that ended, by whatever hand, so that their executions end at once.

Airflow calls this in its scheduler and its API server, in the middle of their transactions: it must not wait and not
fail. So a run's ids go into a queue, and a thread sends them. What is lost is found by the job ``reconcile``.

A scheduler that starts also imports here what its tasks need.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)

GATHER_SECONDS = 1.0
"""So long runs are gathered before they are sent; by then Airflow has committed what it told of."""
TIMEOUT_SECONDS = 10.0
MOST_WAITING = 10_000
MOST_AT_ONCE = 500
MOST_TIMES = 5
_DAG_ID = re.compile(r"([a-z][a-z0-9-]{0,38})__[a-z][a-z0-9_]{0,62}(-v[1-9][0-9]{0,8})?")

Name = tuple[str, str]


class Teller:
    """Sends names of runs in a thread of its own, which lives while there is something to send."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: OrderedDict[Name, tuple[float, int]] = OrderedDict()
        """``(DAG id, run id)`` -> when to send it, and how often it was sent."""
        self._thread: threading.Thread | None = None
        self._complained = False

    def tell(self, name: Name) -> None:
        """Have a run sent soon; never waits for it."""
        with self._lock:
            self._add(name, GATHER_SECONDS, 0)
            # In a forked process the thread of the first one is not alive.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="agent-factory-ended-runs", daemon=True)
                self._thread.start()

    def _add(self, name: Name, seconds: float, times: int) -> None:
        if len(self._due) < MOST_WAITING:
            self._due[name] = time.monotonic() + seconds, times

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._due:
                    self._thread = None
                    return
                wait = min(at for at, _ in self._due.values()) - time.monotonic()
            if wait > 0:
                time.sleep(min(wait, GATHER_SECONDS))
                continue
            with self._lock:
                # Those that are nearly due go along, or at a steady pace each would be a call.
                now = time.monotonic() + GATHER_SECONDS / 2
                names = [name for name, (at, _) in self._due.items() if at <= now][:MOST_AT_ONCE]
                sent = {name: self._due.pop(name)[1] + 1 for name in names}
            self._send(sent)

    def _send(self, sent: dict[Name, int]) -> None:
        """Send some runs; those that the control plane asks for again are kept."""
        body = {"runs": [{"dag_id": dag_id, "run_id": run_id} for dag_id, run_id in sent]}
        try:
            answer = _post("runs/ended", body)
            with self._lock:
                for run in answer["again"]:
                    name = run["dag_id"], run["run_id"]
                    if sent.get(name, MOST_TIMES) < MOST_TIMES:
                        self._add(name, float(answer["seconds"]), sent[name])
            self._complained = False
        except Exception as error:  # whatever it is, Airflow goes on
            if not self._complained:
                log.warning("the control plane was not told of ended runs: %s", type(error).__name__)
            self._complained = True


def _post(path: str, body: Any) -> Any:
    import urllib.request

    from operators.settings import runtime_settings

    settings = runtime_settings()
    request = urllib.request.Request(  # noqa: S310  # the control plane's URL, which the settings check
        f"{settings.api_url}/runtime/v1/{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {settings.token}", "Content-Type": "application/json"},
    )
    # The control plane is ours: no proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
        return json.load(response)


_teller = Teller()


def is_ours(dag_run: DagRun) -> bool:
    """Tell whether a run is of a compiled workflow: by its DAG's id, and by its tags where Airflow has them at hand."""
    match = _DAG_ID.fullmatch(dag_run.dag_id)
    if match is None:
        return False
    # Not ``dag_model``: that would ask the database in the middle of the scheduler's work.
    dag = dag_run.dag
    return dag is None or {"agent-factory", f"org:{match[1]}"} <= set(dag.tags)


def _heard(dag_run: DagRun) -> None:
    try:
        if is_ours(dag_run):
            _teller.tell((dag_run.dag_id, dag_run.run_id))
    except Exception as error:
        log.warning("a run's end was not noted: %s", type(error).__name__)


@hookimpl
def on_starting(component: Any) -> None:
    """Let the scheduler's workers be forked with what their tasks need, and the DAG processor's with what their DAGs
    need; see ``operators.tasks.preload``."""
    # Airflow tells of a job before it has said of which type. Tasks, forked from a scheduler, have its arguments too.
    if type(component).__name__ != "Job" or not {"scheduler", "dag-processor"} & set(sys.argv):
        return
    from operators.tasks.preload import preload, preload_dags

    try:
        if "scheduler" in sys.argv:
            preload()
        else:
            preload_dags()
    except Exception as error:  # each task imports for itself then
        log.warning("nothing was imported ahead: %s", type(error).__name__)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Note a run that ended well, or was marked so."""
    _heard(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Note a run that failed, timed out, or was marked so."""
    _heard(dag_run)
