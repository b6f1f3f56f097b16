"""The Airflow operator of units that run tenant code in Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from operators.settings import pod_connection
from operators.tasks.pod_trigger import PodTrigger
from operators.tasks.segment import SegmentOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from compiler.plan import Plan
    from operators.execution.http import HttpStore
    from operators.execution.runner import UnitOutcome
    from operators.pods.cluster import Cluster
    from operators.steps.base import StepServices, Wake

QUIET_LOGGERS = ("kubernetes", "urllib3", "websocket")


class PodOperator(SegmentOperator, KubernetesPodOperator):
    """Run a unit whose steps are in pods: tenant code, containers, or a map over them.

    A :class:`KubernetesPodOperator` of whose 22 template fields none is left, which pushes nothing to XCom, and whose
    pod is not made of arguments but of the plan's checked description, when the task runs. It has that operator's
    connection (one an organisation), client, and end when it is killed. A pod that is not done within seconds has the
    task deferred, so that it holds no worker; whoever goes on finds the pod by its labels.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e6f4ea"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "tenant-code", "kubernetes_conn_id": None, "get_logs": False, **kwargs})
        self._services: StepServices | None = None

    def execute(self, context: Context) -> None:
        """Run the unit; see :meth:`SegmentOperator.execute`."""
        SegmentOperator.execute(self, context)

    def on_kill(self) -> None:
        """End the pod that is at work, and the run; what is journaled stays."""
        KubernetesPodOperator.on_kill(self)
        SegmentOperator.on_kill(self)

    def _equip(self, services: StepServices, store: HttpStore, plan: Plan, run_id: str) -> None:
        from operators.pods.pool import PodPool
        from operators.pods.time import needed_seconds

        async def settings() -> Any:
            return await store.pod_settings(run_id)

        async def secrets() -> Sequence[str]:
            return (await store.redactions(run_id)).values

        unit = self._unit(plan)
        services.pods = PodPool(
            lambda namespace: self._cluster(plan.organization, namespace),
            settings,
            unit=unit.id,
            deadline_seconds=needed_seconds(plan, unit),
        )
        services.pods.current = self._at_work
        services.pods.show = self.log.info
        services.pods.secrets = secrets

    def _cluster(self, organization: str, namespace: str) -> Cluster:
        from operators.pods.cluster import Cluster

        self.kubernetes_conn_id = pod_connection(organization)
        return Cluster(self.client, namespace)

    def _at_work(self, pod: Any) -> None:
        self.pod = pod

    async def _leave(self, services: StepServices, outcome: UnitOutcome) -> None:
        """Remove the pods of a unit that is over."""
        assert services.pods is not None
        if outcome.kind not in ("waiting", "undecided") and outcome.execution_id:
            await services.pods.remove(outcome.execution_id)

    def _park(self, execution_id: str, wake: Wake) -> None:
        """Give the worker back until the pod is worth another look."""
        if wake.pod is None:
            super()._park(execution_id, wake)
            return
        assert self.kubernetes_conn_id is not None
        until = None if wake.until is None else wake.until.timestamp()
        trigger = PodTrigger(
            execution_id, wake.awaited, until, connection=self.kubernetes_conn_id, namespace=wake.pod.namespace,
            pod=wake.pod.name, job=wake.pod.job,
        )  # fmt: skip
        self.defer(trigger=trigger, method_name="resume")
