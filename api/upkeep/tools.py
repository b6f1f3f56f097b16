"""What a job of upkeep works with, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from api.database import Database
from api.relay.airflow import AirflowClient
from api.settings import Settings
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
