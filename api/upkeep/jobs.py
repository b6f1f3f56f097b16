"""The jobs of upkeep by name. A job works for the whole installation, in as many transactions as it likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from api.namespaces.jobs import keep_namespaces, remove_pods
from api.reconciliation.service import reconcile
from api.upkeep.airflow import clean_airflow
from api.upkeep.partitions.service import make_partitions
from api.upkeep.releases import remove_releases
from api.upkeep.retention.service import keep_retention
from api.upkeep.tools import Counts, Tools

Job = Callable[[Tools], Awaitable[Counts]]

JOBS: Mapping[str, Job] = {
    "reconcile": reconcile,
    "airflow-database": clean_airflow,
    "namespaces": keep_namespaces,
    "partitions": make_partitions,
    "pods": remove_pods,
    "releases": remove_releases,
    "retention": keep_retention,
}
"""Name -> job. Each has a DAG in ``dags/`` that calls it."""
