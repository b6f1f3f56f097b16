"""The jobs of upkeep by name. A job works for the whole installation, in as many transactions as it likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from api.database import Database
from api.relay.airflow import AirflowClient
from api.settings import Settings
from api.upkeep.airflow import clean_airflow
from api.upkeep.partitions.service import make_partitions
from api.upkeep.retention.service import keep_retention
from api.workflows.plans import PlanCache

Counts = dict[str, int]
"""What a job did, as numbers only: Airflow logs them."""


@dataclass(frozen=True)
class Tools:
    """What a job works with."""

    settings: Settings
    database: Database
    airflow: AirflowClient
    plans: PlanCache


Job = Callable[[Tools], Awaitable[Counts]]

JOBS: Mapping[str, Job] = {
    "airflow-database": clean_airflow,
    "partitions": make_partitions,
    "retention": keep_retention,
}
"""Name -> job. Each has a DAG in ``dags/`` that calls it."""
