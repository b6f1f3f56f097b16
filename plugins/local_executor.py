"""The executor of the embedded platform: Airflow's own, holding to ``parallelism``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.executors.local_executor import LocalExecutor

if TYPE_CHECKING:
    from airflow.executors.workloads import ExecutorWorkload


class BoundedLocalExecutor(LocalExecutor):
    """A LocalExecutor that notes which tasks its workers have, as all other executors do.

    Airflow's notes none (its pull request 71914), so the scheduler always sees every slot free and hands over whatever
    waits: first come, first served, whatever the priority, and lost with the scheduler. Here it keeps waiting tasks
    until a worker is free.
    """

    def _process_workloads(self, workload_list: Sequence[ExecutorWorkload]) -> None:
        # A worker that is quicker than this line cannot remove it before: its result is read by this process.
        super()._process_workloads(workload_list)  # type: ignore[no-untyped-call]
        self.running.update(workload.key for workload in workload_list)
