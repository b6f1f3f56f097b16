"""The Airflow operator of units that run tenant code in Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator

from operators.settings import pod_connection
from operators.tasks.pod_trigger import PodTrigger
from operators.tasks.quiet import CLUSTER_LOGGERS, STEP_LOGGERS
from operators.tasks.segment import SegmentOperator

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.exceptions import AirflowException

    from compiler.plan import Plan
    from operators.execution.http import HttpStore
    from operators.execution.runner import UnitOutcome
    from operators.pods.cluster import Cluster
    from operators.pods.pool import PodPool
    from operators.steps.base import StepServices, Wake


class PodOperator(SegmentOperator, KubernetesPodOperator):
    """Run a unit whose steps are in pods: tenant code, containers, or a map over them.

    A :class:`KubernetesPodOperator` of whose 22 template fields none is left, which pushes nothing to XCom, and whose
    pod is not made of arguments but of the plan's checked description, when the task runs. It has that operator's
    connection (one an organisation) and client. A pod that is not done within seconds has the
    task deferred, so that it holds no worker; whoever goes on finds the pod by its labels.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e6f4ea"
    quiet_loggers = (*STEP_LOGGERS, *CLUSTER_LOGGERS)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"name": "tenant-code", "kubernetes_conn_id": None, "get_logs": False, **kwargs})
        self._pods: PodPool | None = None

    def execute(self, context: Context) -> None:
        """Run the unit; see :meth:`SegmentOperator.execute`."""
        SegmentOperator.execute(self, context)

    def on_kill(self) -> None:
        """End every pod that is at work, and the run; what is journaled stays."""
        self._killed = True
        self._end_pods()
        SegmentOperator.on_kill(self)

    def _guarded(self, context: Context) -> UnitOutcome | AirflowException:
        outcome = super()._guarded(context)
        if self._killed:
            # What a thread was about to start when the signal came has been started since.
            self._end_pods()
        return outcome

    def _end_pods(self) -> None:
        if self._pods is not None:
            self._pods.end()

    def _equip(self, services: StepServices, store: HttpStore, plan: Plan, run_id: str) -> None:
        from operators.pods.pool import PodPool
        from operators.pods.time import needed_seconds

        async def settings() -> Any:
            return await store.pod_settings(run_id)

        async def secrets() -> Sequence[str]:
            return (await store.redactions(run_id)).values

        unit = self._unit(plan)
        services.pods = self._pods = PodPool(
            lambda namespace: self._cluster(plan.organization, namespace),
            settings,
            unit=unit.id,
            deadline_seconds=needed_seconds(plan, unit),
        )
        services.pods.show = self.log.info
        services.pods.secrets = secrets

    def _cluster(self, organization: str, namespace: str) -> Cluster:
        from operators.pods.cluster import Cluster

        self.kubernetes_conn_id = pod_connection(organization)
        return Cluster(self.client, namespace)

    async def _leave(self, services: StepServices, outcome: UnitOutcome) -> None:
        """Remove the pods of a unit that is over."""
        assert services.pods is not None
        if outcome.kind not in ("waiting", "undecided") and outcome.execution_id:
            await services.pods.remove(outcome.execution_id)

    def _park(self, execution_id: str, wake: Wake) -> None:
        """Give the worker back until a pod is worth another look."""
        if not wake.pods:
            super()._park(execution_id, wake)
            return
        assert self.kubernetes_conn_id is not None
        until = None if wake.until is None else wake.until.timestamp()
        trigger = PodTrigger(
            execution_id, wake.awaited, until, connection=self.kubernetes_conn_id, namespace=wake.pods[0].namespace,
            pods=[(pod.name, pod.job) for pod in wake.pods],
        )  # fmt: skip
        self.defer(trigger=trigger, method_name="resume")
