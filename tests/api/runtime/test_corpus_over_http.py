"""Every workflow of the corpus through the whole control plane: published, accepted, run by the real runner over HTTP,
with the result it has in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from compiler import compile_workflow
from compiler.plan import Plan, Unit, plan_digest
from operators.execution.http import HttpStore
from operators.execution.runner import run_unit, store_services
from operators.execution.stubs import Stubs
from operators.settings import RuntimeSettings
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform

# Nobody runs the workflows that others call here.
CORPUS = [
    file
    for file in sorted((Path(__file__).parents[2] / "workflows").glob("*.json"))
    if "others" not in orjson.loads(file.read_bytes())
]


async def run_all_units(plan: Plan, store: HttpStore, execution_id: str, stubs: Stubs) -> None:
    """Run the units as Airflow's trigger rules would."""
    ended: dict[str, str] = {}
    services = store_services(store, execution_id)
    digest = plan_digest(plan.to_bytes())

    def may_start(unit: Unit) -> bool:
        upstream = [unit_id in ended for unit_id in unit.upstream]
        return all(upstream) or (unit.starts_on_any and any(upstream))

    try:
        while left := [unit for unit in plan.units if unit.id not in ended]:
            for unit in filter(may_start, left):
                if not unit.starts_on_any and "failed" in [ended[unit_id] for unit_id in unit.upstream]:
                    ended[unit.id] = "failed"
                    continue
                outcome = await run_unit(
                    plan, unit.id, store, services,
                    execution_id=execution_id, owner=unit.id, plan_digest=digest, stubs=stubs,
                )  # fmt: skip
                if outcome.kind != "undecided":
                    ended[unit.id] = outcome.kind
    finally:
        await services.close()


async def set_variables(plane: ControlPlane, values: dict[str, Any]) -> None:
    statement = text(
        "INSERT INTO variables (organization_id, name, value) SELECT id, :name, CAST(:value AS json) FROM organizations"
    )
    async with plane.database.system() as session:
        for name, value in values.items():
            await session.execute(statement, {"name": name, "value": orjson.dumps(value).decode()})


@pytest.mark.parametrize("fusion", ["auto", "off"])
@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
async def test_same_result(file: Path, fusion: str, control_plane: ControlPlane, served_url: str) -> None:
    case = orjson.loads(file.read_bytes())
    document = case["workflow"]
    document.setdefault("settings", {})["fusion"] = fusion
    plan = compile_workflow(orjson.dumps(document), organization="default").plan
    assert plan is not None
    await set_variables(control_plane, case.get("vars", {}))
    assert (await control_plane.publish(document))["digest"] == plan_digest(plan.to_bytes())
    body = {"workflow_id": document["id"], "input": case.get("input", {})}
    execution_id = (await control_plane.api.post("/api/v1/workflows/execute", json=body)).json()["execution_id"]
    async with HttpStore(RuntimeSettings(served_url, "runtime-token")) as store:
        await run_all_units(plan, store, execution_id, Stubs(case.get("stubs")))
    shown = await control_plane.show(execution_id)
    assert (shown["status"], shown["output"]) == (case["expect"]["status"], case["expect"].get("output"))
    steps = {step["id"]: step for step in shown["steps"]}
    for step_id, step in case["expect"].get("steps", {}).items():
        expected = {"status": step} if isinstance(step, str) else step
        assert {name: steps[step_id][name] for name in expected} == expected, step_id
