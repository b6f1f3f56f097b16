"""Airflow's own reading of what the bundle makes: archives for the DAG processor, folders for tasks."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from compiler import compile_workflow
from operators.tasks.plan_file import PlanFile, PlanFileError
from plugins.bundle import AgentFactoryBundle
from plugins.bundle.manifest import shard_of
from tests.plugins.releases import Releases

pytestmark = pytest.mark.unit

DAG_ID = "acme__greet"
SHARD = shard_of(f"{DAG_ID}.py")
SAME_SHARD = next(name for number in range(999) if shard_of(name := f"acme__other_{number}.py") == SHARD)


@pytest.fixture
def dagbag(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Airflow's DagBag; an import of a DAG leaves nothing in ``sys.path``."""
    import sys

    from airflow.dag_processing import dagbag

    monkeypatch.setattr(sys, "path", [*sys.path])
    return dagbag


def files() -> dict[str, bytes]:
    tasks = [{"id": "one", "type": "transform", "config": {"set": {"x": 1}}}]
    trigger = {"type": "manual", "config": {}}
    document = {"id": "greet", "name": "Greet", "version": "1", "trigger": trigger, "tasks": tasks}
    return dict(compile_workflow(json.dumps(document), organization="acme").files)


def loaded(version: str | None = None) -> AgentFactoryBundle:
    made = AgentFactoryBundle(name="agent_factory", refresh_interval=30, version=version)
    made.initialize()
    return made


def bag_of(dagbag: ModuleType, made: AgentFactoryBundle, path: str) -> Any:
    return dagbag.BundleDagBag(made.path / path, bundle_path=made.path, bundle_name=made.name, safe_mode=False)


def test_finds_the_archives(releases: Releases, folder: Path) -> None:
    from airflow.utils.file import list_py_file_paths

    releases.publish(1, files())
    made = loaded()
    found = sorted(Path(path).name for path in list_py_file_paths(made.path, safe_mode=False))
    assert found == sorted({SHARD, shard_of("agent_factory__release.py")})


def test_dag_of_an_archive(releases: Releases, folder: Path, dagbag: ModuleType) -> None:
    from airflow.utils.file import open_maybe_zipped

    releases.publish(1, files())
    bag = bag_of(dagbag, loaded(), SHARD)
    assert (list(bag.dags), bag.import_errors) == ([DAG_ID], {})
    dag = bag.dags[DAG_ID]
    assert dag.relative_fileloc == f"{SHARD}/{DAG_ID}.py"
    # What the Code tab shows.
    with open_maybe_zipped(dag.fileloc) as source:
        assert source.read().encode() == files()[f"{DAG_ID}.py"]


def test_task_finds_dag_and_plan_in_a_folder(releases: Releases, folder: Path, dagbag: ModuleType) -> None:
    releases.publish(1, {**files(), SAME_SHARD: b"raise SystemExit('parsed')"})
    bag = bag_of(dagbag, loaded("1"), f"{SHARD}/{DAG_ID}.py")
    assert (list(bag.dags), bag.import_errors) == ([DAG_ID], {})
    dag = bag.dags[DAG_ID]
    assert dag.relative_fileloc == f"{SHARD}/{DAG_ID}.py"
    (task,) = dag.tasks
    assert task.plan.load().workflow_id == "greet"


@pytest.mark.parametrize("broken", [b"with DAG(:", b"\xff\xfe", b"\0", b"1 / 0", b"", b"import nowhere"])
def test_broken_file_breaks_only_itself(releases: Releases, folder: Path, dagbag: ModuleType, broken: bytes) -> None:
    releases.publish(1, {**files(), SAME_SHARD: broken})
    made = loaded()
    bag = bag_of(dagbag, made, SHARD)
    assert list(bag.dags) == [DAG_ID]
    assert [Path(path).name for path in bag.import_errors] == ([SAME_SHARD] if broken else [])


def test_plan_in_an_archive_is_none(releases: Releases, folder: Path) -> None:
    """Plans lie in the folders only; a DAG that is asked to run from an archive says so."""
    releases.publish(1, files())
    path = loaded().path / SHARD
    assert zipfile.ZipFile(path).namelist() == [f"{DAG_ID}.py"]
    with pytest.raises(PlanFileError, match="must lie beside it"):
        PlanFile(str(path / f"{DAG_ID}.py"), sha256="0" * 64).load()
