"""``/runtime/v1/upkeep``: the jobs that Airflow's upkeep DAGs ask for."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from api.auth import SettingsDep, authenticate_runtime
from api.database import DatabaseDep
from api.edge import RuntimeRoute
from api.problems import not_found
from api.upkeep.jobs import JOBS
from api.upkeep.tools import Tools
from api.workflows.plans import PlansDep

router = APIRouter(
    prefix="/runtime/v1/upkeep",
    tags=["runtime"],
    route_class=RuntimeRoute,
    dependencies=[Depends(authenticate_runtime)],
)


class JobReport(BaseModel):
    """What a job did."""

    counts: dict[str, int]


@router.post("/{job}")
async def do_job(
    job: str, request: Request, settings: SettingsDep, database: DatabaseDep, plans: PlansDep
) -> JobReport:
    """Do a job of upkeep and return its counts; doing one twice is harmless."""
    work = JOBS.get(job)
    if work is None:
        raise not_found("job of upkeep", job)
    return JobReport(counts=await work(Tools(settings, database, request.app.state.airflow, plans)))
