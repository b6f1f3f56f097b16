"""Releases that come, go and break, as Airflow sees them."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from typing import Any

import pytest

from api.database import Database
from api.organizations.repository import OrganizationRepository
from api.releases.repository import ArtifactRepository, ReleaseRepository
from api.releases.service import Collected, ReleaseService, collect_releases
from tests.stubs.model_server import ModelServer
from tests.support import Platform

pytestmark = pytest.mark.platform

PUBLISHES = 20


def workflow(workflow_id: str, number: int) -> dict[str, Any]:
    """A model call, then a task that only this version has; each an Airflow task."""
    tasks = [
        {
            "id": "ask",
            "type": "ai_inference",
            "config": {"model": f"openai:{workflow_id}", "prompt": "hello"},
            "next": [f"end_{number}"],
        },
        {"id": f"end_{number}", "type": "transform", "config": {"set": {"version": number}}},
    ]
    return {
        "id": workflow_id, "name": "Releases", "version": str(number), "trigger": {"type": "manual", "config": {}},
        "tasks": tasks, "settings": {"fusion": "off"},
    }  # fmt: skip


def collect(platform: Platform) -> Collected:
    """Remove at once what no execution has."""

    async def work() -> Collected:
        database = Database(platform.settings())
        async with database.system() as session:
            collected = await collect_releases(session, timedelta(0))
        await database.close()
        return collected

    return asyncio.run(work())


def release_file(platform: Platform, name: str, content: bytes) -> None:
    """Make a release with a file that no compiler made."""

    async def work() -> None:
        database = Database(platform.settings())
        async with database.system() as session:
            organization_id = await OrganizationRepository(session).ensure("default")
            await ReleaseRepository(session).lock()
            await ArtifactRepository(session, organization_id).add(content)
            await ReleaseService(session).make(organization_id, {name: content})
        await database.close()

    asyncio.run(work())


def test_runs_in_flight_over_many_publishes(platform: Platform, models: ModelServer) -> None:
    """Also where the machine of the task never saw the old release, and what nobody needs was removed meanwhile."""
    executions = []
    models.block()
    for number in range(PUBLISHES):
        published = platform.publish(workflow("many_times", number))
        if number in (0, PUBLISHES // 2):
            seen = len(models.prompts("many_times"))
            executions.append((number, published["release"], platform.execute("many_times", {})))
            platform.until(lambda seen=seen: len(models.prompts("many_times")) > seen)  # type: ignore[misc]
    platform.until(lambda: platform.airflow_has(published["dag_id"], published["digest"]))
    assert collect(platform).files >= 2 * (PUBLISHES - 3)
    for _, release, _ in executions:
        shutil.rmtree(platform.home.path / "airflow" / "bundles" / "agent_factory" / "versions" / release)
    executions.append((PUBLISHES - 1, "", platform.execute("many_times", {})))
    models.release()
    for number, _, execution_id in executions:
        ended = platform.wait(execution_id)
        assert ended["status"] == "success", ended
        assert [step["id"] for step in ended["steps"]] == ["ask", f"end_{number}"]


def test_code_tab_shows_the_workflows_own_file(platform: Platform) -> None:
    published = platform.publish(workflow("shown", 1))
    platform.until(lambda: platform.airflow_has(published["dag_id"], published["digest"]))
    source = platform.airflow.get(f"/api/v2/dagSources/{published['dag_id']}").raise_for_status().json()["content"]
    assert published["digest"] in source
    assert source.count("with DAG(") == 1


def test_broken_file_is_an_import_error_of_its_own(platform: Platform) -> None:
    name = "default__broken_file.py"

    def errors() -> list[str]:
        found = platform.airflow.get("/api/v2/importErrors", params={"limit": 100}).raise_for_status().json()
        return [error["stack_trace"] for error in found["import_errors"] if error["filename"].endswith(name)]

    release_file(platform, name, b"airflow_dag = 1 / 0")
    published = platform.publish(workflow("not_broken", 1))
    platform.until(lambda: platform.airflow_has(published["dag_id"], published["digest"]))
    platform.until(lambda: len(errors()) == 1)
    assert "ZeroDivisionError" in errors()[0]
    release_file(platform, name, b"")
    platform.publish(workflow("not_broken", 2))
    platform.until(lambda: not errors())
