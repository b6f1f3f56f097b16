"""Golden files: workflow JSON -> plan JSON -> DAG text, and the same bytes in every process.

``python -m tests.compiler.test_golden_files`` writes the expected files anew; look at the difference before you
commit it.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import Compilation, compile_workflow
from compiler.plan import Plan, plan_digest
from tests.compiler.building import choice, plan_of, transform, workflow

pytestmark = pytest.mark.unit

FOLDER = Path(__file__).parents[1] / "golden"
TIMETABLES = {"CronTriggerTimetable", "MultipleCronTriggerTimetable", "ZonedCronTimetable"}
NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if not path.name.endswith(".plan.json"))


def compiled(name: str) -> Compilation:
    return compile_workflow((FOLDER / f"{name}.json").read_bytes(), organization="acme-inc")


def expected_files(name: str, compilation: Compilation) -> dict[Path, bytes]:
    """Return what the folder must hold for a workflow."""
    assert compilation.plan is not None, compilation.diagnostics
    stem = compilation.plan.dag_id
    return {
        FOLDER / f"{name}.plan.json": compilation.files[f"{stem}.plan.json"],
        FOLDER / f"{name}.dag.txt": compilation.files[f"{stem}.py"],
    }


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    for path, data in expected_files(name, compiled(name)).items():
        assert data.decode() == path.read_text(), f"{path.name} has changed"


@pytest.mark.parametrize("name", NAMES)
def test_plans_can_be_read_back(name: str) -> None:
    compilation = compiled(name)
    assert compilation.plan is not None
    data = compilation.files[f"{compilation.plan.dag_id}.plan.json"]
    assert Plan.from_bytes(data) == compilation.plan
    assert Plan.from_bytes(data).to_bytes() == data
    assert plan_digest(data) == compilation.digest
    assert f'sha256="{compilation.digest}"' in compilation.files[f"{compilation.plan.dag_id}.py"].decode()


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_same_bytes_in_every_process(seed: str, tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, compiler\n"
        "for name in sys.argv[1:]:\n"
        "    result = compiler.compile_workflow(pathlib.Path(name).read_bytes(), organization='acme-inc')\n"
        "    sys.stdout.write(result.digest + ''.join(d.message for d in result.diagnostics))\n"
        "    for file in sorted(result.files): sys.stdout.write(file + result.files[file].decode())\n"
    )
    paths = [str(FOLDER / f"{name}.json") for name in NAMES]
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1", "TZ": f"Etc/GMT+{seed[0]}"}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", script, *paths]
    printed = subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True).stdout.decode()
    here = ""
    for name in NAMES:
        result = compiled(name)
        here += result.digest + "".join(diagnostic.message for diagnostic in result.diagnostics)
        here += "".join(file + result.files[file].decode() for file in sorted(result.files))
    assert printed == here


@pytest.mark.parametrize("name", NAMES)
def test_dag_files_hold_nothing_of_the_tenant(name: str) -> None:
    source = json.loads((FOLDER / f"{name}.json").read_text())
    compilation = compiled(name)
    assert compilation.plan is not None
    text = compilation.files[f"{compilation.plan.dag_id}.py"].decode()
    allowed = {source["id"], *(task["id"] for task in source["tasks"])}
    triggers = source.get("triggers") or [source["trigger"]]
    for trigger in triggers:
        if trigger["type"] == "schedule":
            allowed |= {trigger["config"]["cron"], trigger["config"].get("timezone", "UTC")}
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert names <= {
        "PLAN",
        "PlanFile",
        "__file__",
        "DAG",
        "dag",
        "Param",
        "SegmentOperator",
        "CodeOperator",
        "MapOperator",
        "timedelta",
        *TIMETABLES,
    } | {prefix + name for prefix in ("t_", "s_") for name in allowed}
    for value in _strings(source):
        # Short words such as "string" and "process" belong to the fixed text.
        assert len(value) <= 8 or value in allowed or value not in text


def _strings(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for child in value.values() for text in _strings(child)]
    if isinstance(value, list):
        return [text for child in value for text in _strings(child)]
    return [value] if isinstance(value, str) else []


def test_shape_of_a_dag_file() -> None:
    source = workflow(choice("a", ("{{ 1 }}", "b"), default="c"), transform("b"), transform("c"), id="shape")
    result = compile_workflow(json.dumps(source), organization="acme", fusion="off")
    digest = result.digest
    assert (
        result.files["acme__shape.py"].decode()
        == f'''\
"""Compiled by Agent Factory: workflow shape of organisation acme. Edit the workflow, not this file."""

from datetime import timedelta

from airflow.sdk import DAG, Param

from operators.tasks.plan_file import PlanFile
from operators.tasks.segment import SegmentOperator

PLAN = PlanFile(__file__, sha256="{digest}")

with DAG(
    dag_id="acme__shape",
    schedule=None,
    catchup=False,
    max_active_runs=1000,
    tags=["agent-factory", "org:acme", "plan:{digest[:12]}"],
    default_args={{"retries": 5, "retry_delay": timedelta(seconds=1), "trigger_rule": "none_failed"}},
    params={{"input_id": Param(None, type=["null", "string"], description="Id of a prepared input.")}},
) as dag:
    t_a = SegmentOperator(task_id="a", plan=PLAN)
    t_b = SegmentOperator(task_id="b", plan=PLAN)
    t_c = SegmentOperator(task_id="c", plan=PLAN)

    t_a >> [t_b, t_c]
'''
    )


def test_a_prompt_changes_the_tag() -> None:
    first = compile_workflow(json.dumps(workflow(transform("a", {"x": 1}))), organization="acme")
    second = compile_workflow(json.dumps(workflow(transform("a", {"x": 2}))), organization="acme")
    tags = [next(line for line in result.files["acme__flow.py"].decode().splitlines() if "tags=" in line)
            for result in (first, second)]  # fmt: skip
    assert tags[0] != tags[1]


def test_timeouts_of_runs() -> None:
    def line(timeout: object) -> str:
        source = workflow(transform("a"), settings={"timeout": timeout})
        text = compile_workflow(json.dumps(source), organization="acme").files["acme__flow.py"].decode()
        return next(line.strip() for line in text.splitlines() if "dagrun_timeout" in line)

    assert line("5m") == "dagrun_timeout=timedelta(seconds=360),"
    assert line("250ms") == "dagrun_timeout=timedelta(seconds=60.25),"


def test_an_emitted_name_is_looked_at_again() -> None:
    from compiler.emit import dag_text

    plan = plan_of(workflow(transform("a")))
    for change in ({"organization": 'x"'}, {"workflow_id": "x\n"}):
        with pytest.raises(ValueError, match="checked identifiers"):
            dag_text(plan.model_copy(update=change), "0" * 64)
    unit = plan.units[0].model_copy(update={"id": 'segment.a"); import os; ("'})
    with pytest.raises(ValueError, match="checked identifiers"):
        dag_text(plan.model_copy(update={"units": (unit,)}), "0" * 64)


def test_an_emitted_schedule_is_looked_at_again() -> None:
    from compiler.emit import dag_text

    plan = plan_of(workflow(transform("a"), trigger={"type": "schedule", "config": {"cron": "0 9 * * *"}}))
    config = plan.triggers[0].config
    for change in ({"cron": '0 9 * * "'}, {"cron": "0 9 * * mon"}, {"timezone": "Mars/Base"}, {"timezone": 'UTC"'}):
        trigger = plan.triggers[0].model_copy(update={"config": config | change})
        with pytest.raises(ValueError, match="a DAG file may hold"):
            dag_text(plan.model_copy(update={"triggers": (trigger,)}), "0" * 64)


if __name__ == "__main__":
    for each in NAMES:
        for path, data in expected_files(each, compiled(each)).items():
            path.write_bytes(data)
