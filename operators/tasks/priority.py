"""Which task Airflow starts next where more wait than it has workers for; the plugin registers it with Airflow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from airflow.task.priority_strategy import PriorityWeightStrategy

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

EPOCH = 1_767_225_600
"""2026-01-01 00:00 UTC: Airflow keeps the weight in 32 bits, signed."""


class OldestRunFirst(PriorityWeightStrategy):
    """The tasks of the run that began first go first; the weight is the negative second in which Airflow made the task.

    Airflow's own rule (``downstream``) prefers tasks with many others after them: it would begin every run before it
    ends one, and let the long workflows of one organisation pass all others.
    """

    def get_weight(self, ti: TaskInstance) -> int:
        """Return the weight of a task: the one it has, or at its making that of now.

        Airflow makes all tasks of a run when it makes the run, and asks again when a task is cleared.
        """
        return ti.priority_weight or EPOCH - int(time.time())
