"""What the scheduler imports ahead is all of ours that a task would import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins import listener
from tests.operators.execution.plans import model_step, plan_of, step
from tests.operators.tasks.test_segment_operator import World
from tests.stubs.runtime_api import TOKEN

pytestmark = pytest.mark.unit

A_TASK = """
import json, sys
from types import SimpleNamespace
from plugins.listener import on_starting
on_starting(type("Job", (), {})())
before = set(sys.modules)
from operators.tasks.segment import PlanFile, SegmentOperator
operator = SegmentOperator(task_id="all", plan=PlanFile(sys.argv[2], sha256=sys.argv[3]))
run = SimpleNamespace(run_id="run-1", clear_number=0, run_type="manual", logical_date=None, run_after=None, conf=None)
SegmentOperator.execute.__wrapped__(operator, {"dag_run": run})
print(json.dumps(sorted(name for name in set(sys.modules) - before if name.startswith(("compiler", "operators")))))
"""


def imported(tmp_path: Path, part: str) -> list[str]:
    """Run a task in a new process that began as a part of Airflow; return what of ours the task imported itself."""
    with World(tmp_path) as world:
        plan = world.publish(plan_of(model_step("a", "{{ input }}", next="b"), step("b")), input="x")
        environment = {**os.environ, "AGENT_FACTORY_API_URL": world.url, "AGENT_FACTORY_RUNTIME_TOKEN": TOKEN}
        arguments = [sys.executable, "-c", A_TASK, part, str(tmp_path / "test__flow.py"), plan.sha256]
        done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
        assert world.store.execution("run-1").status == "success"
    names = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(names, list)
    return names


def test_a_task_of_a_scheduler_imports_nothing_of_ours(tmp_path: Path) -> None:
    assert imported(tmp_path, "scheduler") == []


def test_what_is_no_scheduler_imports_nothing_ahead(tmp_path: Path) -> None:
    assert "operators.execution.runner" in imported(tmp_path, "triggerer")


@pytest.mark.parametrize(("named", "there"), [("openai", "True"), ("", "False")])
def test_the_sdks_that_the_setting_names_are_loaded(named: str, there: str) -> None:
    code = "import sys; from operators.tasks.preload import preload; preload(); print('openai' in sys.modules)"
    environment = {**os.environ, "AGENT_FACTORY_PRELOAD": named}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines()[-1] == there


@pytest.mark.parametrize("part", ["scheduler", "dag-processor"])
@pytest.mark.parametrize("named", ["kubernetes", ""])
def test_what_units_in_pods_need(part: str, named: str) -> None:
    code = """
import sys
from plugins.listener import on_starting
on_starting(type("Job", (), {})())
before = set(sys.modules)
import operators.tasks.pod
if sys.argv[1] == "scheduler":
    import kubernetes.stream, operators.pods.visit, operators.steps.pod
    import airflow.providers.cncf.kubernetes.hooks.kubernetes
print(len(set(sys.modules) - before))
"""
    environment = {**os.environ, "AGENT_FACTORY_PRELOAD": named}
    command = [sys.executable, "-c", code, part]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = int(done.stdout.splitlines()[-1])
    assert (found == 0) == (named == "kubernetes"), found


def test_a_scheduler_starts_without_what_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("operators.tasks.preload.MODULES", ("no_such_module",))
    monkeypatch.setattr("sys.argv", ["airflow", "scheduler"])
    listener.on_starting(type("Job", (), {})())
    assert "nothing was imported ahead: ModuleNotFoundError" in caplog.text
