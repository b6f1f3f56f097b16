"""Every golden DAG, and the awkward ones of the corpus, are imported by Airflow itself without an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import compile_workflow

pytestmark = pytest.mark.unit

TESTS = Path(__file__).parents[1]
SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
bag = DagBag(sys.argv[1])
dags = {
    dag_id: {task.task_id: [sorted(task.upstream_task_ids), str(task.trigger_rule.value), task.retries]
             for task in dag.tasks}
    for dag_id, dag in bag.dags.items()
}
schedules = {}
for dag_id, dag in bag.dags.items():
    if dag.catchup:
        raise SystemExit(f"{dag_id} catches up")
    stored = json.loads(json.dumps(encode_timetable(dag.timetable)))
    restored = decode_timetable(stored)
    if restored.can_be_scheduled:
        schedules[dag_id] = [type(restored).__name__, restored.summary]
        if encode_timetable(restored) != stored:
            raise SystemExit(f"{dag_id} is stored as another schedule: {stored}")
print("RESULT" + json.dumps({"errors": bag.import_errors, "dags": dags, "schedules": schedules}))
"""


def compiled_into(folder: Path) -> dict[str, dict[str, list[object]]]:
    """Compile golden files and corpus, unfused too; return what Airflow must see: tasks, upstream, rule, retries."""
    expected = {}
    sources = [json.loads(path.read_text()) for path in sorted((TESTS / "golden").glob("*.json"))]
    sources = [source for source in sources if "tasks" in source]
    sources += [json.loads(path.read_text())["workflow"] for path in sorted((TESTS / "workflows").glob("*.json"))]
    for organization, fusion in (("fused", "auto"), ("un-fused", "off")):
        for source in sources:
            result = compile_workflow(json.dumps(source), organization=organization, fusion=fusion)  # type: ignore[arg-type]  # a word of a table
            assert result.plan is not None, result.diagnostics
            for name, data in result.files.items():
                (folder / name).write_bytes(data)
            expected[result.plan.dag_id] = {
                unit.id: [sorted(unit.upstream), "one_done" if unit.starts_on_any else "none_failed", 5]
                for unit in result.plan.units
            }
    return expected


def test_airflow_imports_every_dag(tmp_path: Path) -> None:
    pytest.importorskip("operators.tasks.segment")
    dags = tmp_path / "dags"
    dags.mkdir()
    expected = compiled_into(dags)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/unused.db",
    }
    command = [sys.executable, "-c", SCRIPT, str(dags)]
    finished = subprocess.run(command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-2000:]
    result = json.loads(finished.stdout.rpartition("RESULT")[2])
    assert result["errors"] == {}
    assert result["dags"] == expected
    assert {dag_id: seen for dag_id, seen in result["schedules"].items() if dag_id.startswith("fused__")} == {
        "fused__daily_digest": ["ZonedCronTimetable", "0 9 * * 1-5, */15 18-20 * * 0"],
        "fused__two_times": ["MultipleCronTriggerTimetable", "30 6 1 1,7 *, 0 0 * * 0,5,6"],
        "fused__every_night": ["CronTriggerTimetable", "0 2 * * *"],
    }
