"""``/runtime/v1/runs``: what Airflow's listener tells of runs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field

from api.auth import SettingsDep, authenticate_runtime
from api.database import DatabaseDep
from api.edge import RuntimeRoute
from api.reconciliation.service import Reconciler
from api.upkeep.tools import Tools
from api.workflows.plans import PlansDep

router = APIRouter(
    prefix="/runtime/v1/runs",
    tags=["runtime"],
    route_class=RuntimeRoute,
    dependencies=[Depends(authenticate_runtime)],
)

AirflowId = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[^\x00]*$")]


class RunName(BaseModel):
    """A run of Airflow, by its ids."""

    model_config = ConfigDict(extra="forbid")

    dag_id: AirflowId
    run_id: AirflowId


class EndedRuns(BaseModel):
    """Runs that are said to have ended."""

    model_config = ConfigDict(extra="forbid")

    runs: Annotated[list[RunName], Field(max_length=500)]


class EndedRunsHeard(BaseModel):
    """The runs to tell of again after so many seconds: a runner still holds a lease, or Airflow shows them at work.

    Five times of these seconds are longer than a runner that was killed keeps its lease.
    """

    again: list[RunName]
    seconds: float


@router.post("/ended")
async def hear_of_ended_runs(
    body: EndedRuns, request: Request, settings: SettingsDep, database: DatabaseDep, plans: PlansDep
) -> EndedRunsHeard:
    """Bring the executions of ended runs to their end; the same call twice is harmless.

    What is said is not believed but looked up in Airflow.
    """
    reconciler = Reconciler(Tools(settings, database, request.app.state.airflow, plans))
    later = await reconciler.hear([(run.dag_id, run.run_id) for run in body.runs])
    again = [RunName(dag_id=dag_id, run_id=run_id) for dag_id, run_id in later]
    return EndedRunsHeard(again=again, seconds=settings.lease_ttl_seconds / 2)
