"""The jobs of upkeep by name. A job works for the whole installation, in as many transactions as it likes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from api.reconciliation.service import reconcile
from api.upkeep.tools import Counts, Tools

Job = Callable[[Tools], Awaitable[Counts]]

JOBS: Mapping[str, Job] = {
    "reconcile": reconcile,
}
"""Name -> job. Each has a DAG in ``dags/`` that calls it."""
