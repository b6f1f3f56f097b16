"""What tests use of the cluster."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from kubernetes import client, config
from pydantic import SecretStr

from api.database import Database
from api.namespaces import jobs
from api.namespaces.cluster import Namespaces
from api.namespaces.settings import pod_settings
from api.settings import PodQuota, Settings
from api.upkeep.tools import Counts, Tools
from compiler import compile_workflow
from compiler.plan import Plan
from operators.execution.local import LocalResult, run_plan
from operators.execution.records import PodSettings
from operators.execution.stubs import Stubs
from operators.pods.cluster import Cluster
from operators.pods.jobs import PodJob
from operators.pods.pool import PodPool
from operators.steps.base import StepResult, Waiting, Wake
from tests.support import Platform

VARIABLE = "AGENT_FACTORY_TEST_KUBERNETES"
ORGANIZATION, OTHER = "acme", "other"
PREFIX = f"af-{os.getpid()}-"
"""Of this run: another one may be using the same cluster."""
RUNNER = "localhost/python:3.11"
QUOTA = {"memory": "2Ti", "container_memory": "300Gi"}
"""More than the node has, to ask for what it cannot give."""
IMAGE = "docker.io/library/python:3.11-slim"
NODE_IMAGE = "docker.io/library/node:22-slim"
"""The default images' names, for the test's images."""


def exports_of(text: str) -> dict[str, str]:
    """Return the variables of ``export NAME=value`` lines."""
    return dict(re.findall(r"^export (\w+)=(.*)$", text, re.M))


def client_of(kubeconfig: Path) -> client.CoreV1Api:
    """Return a client with the rights of a kubeconfig."""
    configuration = client.Configuration()
    config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    return client.CoreV1Api(client.ApiClient(configuration))


@dataclass
class TestCluster:
    """A running cluster.

    :param exports: What ``up`` printed.
    :param folder: For kubeconfigs.
    """

    __test__ = False
    exports: dict[str, str]
    folder: Path
    scripts: Path
    namespaces: Namespaces = field(init=False)
    settings: Settings = field(init=False)
    administrator: client.CoreV1Api | None = None
    left: dict[str, list[client.V1Pod]] = field(default_factory=dict)
    """Pods that an execution had at its end, before they were removed with its units."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return Path(self.exports["KUBECONFIG"])

    def open(self, settings: Settings) -> None:
        """Connect."""
        self.settings = settings
        self.namespaces = Namespaces(settings)

    def image(self, name: str, *options: str) -> None:
        """Make an image."""
        subprocess.run([self.scripts / "mkimage", name, *options], capture_output=True, check=True)

    def node(self) -> str | None:
        """Return the path of this machine's Node.js."""
        found = shutil.which("node")
        return str(Path(found).resolve()) if found else None

    def api(self) -> client.CoreV1Api:
        """Return the administrator's client, always the same: whoever waits for something asks many times."""
        if self.administrator is None:
            self.administrator = client_of(self.kubeconfig)
        return self.administrator

    def airflow_api(self, organization: str = ORGANIZATION) -> client.CoreV1Api:
        """Return a client with the rights that Airflow has in an organisation's namespace."""
        return client_of(self.folder / f"{organization}.kubeconfig")

    def pod_settings(self) -> PodSettings:
        """Return how the organisation's pods are made."""
        return pod_settings(self.settings, ORGANIZATION)

    def quota_used(self, what: str) -> str:
        """Return how much of the organisation's quota is used."""
        quota = self.api().read_namespaced_resource_quota("agent-factory", PREFIX + ORGANIZATION)
        used: str = (quota.status.used or {}).get(what, "")
        return used

    def pool(self, unit: str = "local", *, deadline_seconds: float = 600, **changes: Any) -> PodPool:
        """Return a pool of pods in the organisation's namespace, with Airflow's rights."""

        async def settings() -> PodSettings:
            return self.pod_settings().model_copy(update=changes)

        return PodPool(
            lambda namespace: Cluster(self.airflow_api(), namespace), settings, unit=unit,
            deadline_seconds=deadline_seconds,
        )  # fmt: skip

    async def remove_pods_of_nobody(self, platform: Platform) -> Counts:
        """Run the job that removes pods whose execution is over or unknown, however long that is so."""
        database_url = platform.settings().database_url
        settings = self.settings.model_copy(update={"database_url": database_url})
        database = Database(settings)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(jobs, "YOUNG", timedelta(0))
                patch.setattr(jobs, "OVER", timedelta(0))
                # It needs neither Airflow nor plans.
                return await jobs.remove_pods(Tools(settings, database, cast("Any", None), cast("Any", None)))
        finally:
            await database.engine.dispose()

    def pods(self, execution_id: str | None = None) -> list[client.V1Pod]:
        """Return the organisation's pods that are not being deleted."""
        selector = f"agent-factory/execution={execution_id}" if execution_id else None
        found = self.api().list_namespaced_pod(PREFIX + ORGANIZATION, label_selector=selector).items
        return [pod for pod in found if pod.metadata.deletion_timestamp is None]

    def log(self, pod: client.V1Pod, container: str) -> str:
        """Return what a container has printed; "" while it has not started."""
        with contextlib.suppress(client.ApiException):
            text: str = self.api().read_namespaced_pod_log(
                pod.metadata.name, pod.metadata.namespace, container=container
            )
            return text
        return ""

    def pools(self, plan: Plan, **changes: Any) -> PodPool:
        """Return a pool for each unit of a plan."""
        return cast("PodPool", PoolPerUnit(plan, partial(self.pool, **changes)))

    async def run(self, plan: Plan, execution_id: str, pods: PodPool | None = None, **options: Any) -> LocalResult:
        """Run a plan with its pods on the cluster; note which there are at its end, then remove them as a task does."""
        pool = pods or self.pool()
        try:
            return await run_plan(plan, execution_id=execution_id, pods=pool, **options)
        finally:
            self.left[execution_id] = await asyncio.to_thread(self.pods, execution_id)
            await pool.remove(execution_id)

    def run_all(
        self, runs: dict[str, Callable[[], Awaitable[LocalResult]]], at_once: int = 8
    ) -> dict[str, LocalResult]:
        """Run several plans side by side: most of the time pods start."""

        async def run() -> dict[str, LocalResult]:
            places = asyncio.Semaphore(at_once)

            async def one(start: Callable[[], Awaitable[LocalResult]]) -> LocalResult:
                async with places:
                    return await start()

            results = await asyncio.gather(*map(one, runs.values()))
            return dict(zip(runs, results, strict=True))

        return asyncio.run(run())

    def remove_pods(self) -> None:
        """Remove all pods of the organisation, so that a failed test leaves their room to the next."""
        self.api().delete_collection_namespaced_pod(PREFIX + ORGANIZATION, grace_period_seconds=0)

    def clean(self) -> None:
        """Remove the tests' namespaces from a cluster that stays."""
        for organization in (ORGANIZATION, OTHER):
            with contextlib.suppress(client.ApiException):
                self.api().delete_namespace(PREFIX + organization)


class PoolPerUnit:
    """A pool for each unit of a plan, as units have them that are Airflow tasks of their own; stands for one pool.

    :param make: Makes a unit's pool.
    """

    def __init__(self, plan: Plan, make: Callable[[str], PodPool]) -> None:
        unit_of = {step_id: unit.id for unit in plan.units for step_id in unit.steps}
        self._pools = {unit_id: make(unit_id) for unit_id in unit_of.values()}
        self._unit_of = unit_of

    def _pool_of(self, step_id: str) -> PodPool:
        return self._pools[self._unit_of[step_id.partition("[")[0]]]

    async def look(self, job: PodJob, waiting: Waiting, now: datetime) -> StepResult | Wake:
        """Look in the pool of the step's unit; where it has no other step, it is over with the result."""
        step_id = waiting.key.step_id
        seen = await self._pool_of(step_id).look(job, waiting, now)
        if isinstance(seen, StepResult) and list(self._unit_of.values()).count(self._unit_of.get(step_id)) == 1:
            await self._pool_of(step_id).remove(waiting.key.execution_id)
        return seen

    async def abandon(self, job: PodJob, waiting: Waiting) -> None:
        """Abandon in the pool of the step's unit."""
        await self._pool_of(waiting.key.step_id).abandon(job, waiting)

    def journaled(self, step_ids: Iterable[str]) -> None:
        """Tell the pool of each unit."""
        steps = list(step_ids)
        for pool in self._pools.values():
            pool.journaled(steps)

    async def remove(self, execution_id: str) -> int:
        """Remove the pods of all units; return how many there were."""
        return sum([await pool.remove(execution_id) for pool in self._pools.values()])

    async def close(self) -> None:
        """Close every pool."""
        for pool in self._pools.values():
            await pool.close()


def platform_environment(cluster: TestCluster, configs: Path) -> dict[str, str]:
    """Return the settings of a platform whose code runs in the cluster's pods; a worker waits two seconds for one.

    :param configs: For the kubeconfigs of its Airflow.
    """
    values = {
        "ISOLATION": "kubernetes", "ORGANIZATION": ORGANIZATION, "KUBERNETES_CONFIG": str(cluster.kubeconfig),
        "POD_CONFIGS": str(configs), "POD_NAMESPACE_PREFIX": PREFIX, "POD_RUNNER_IMAGE": RUNNER,
        "POD_HOLD_SECONDS": "2", "POD_QUOTAS": json.dumps({ORGANIZATION: QUOTA}),
        "IMAGE_POLICIES": '{"*": {"allow": ["python:3.11-slim"]}}',
    }  # fmt: skip
    return {f"AGENT_FACTORY_{name}": value for name, value in values.items()}


def cluster_settings(made: TestCluster) -> Settings:
    """Return the settings of a control plane that keeps the cluster's namespaces."""
    return Settings(
        database_url="postgresql://nobody@localhost/none",
        api_token=SecretStr("unused"),
        runtime_token=SecretStr("unused"),
        isolation="kubernetes",
        kubernetes_config=str(made.kubeconfig),
        pod_configs=made.folder,
        pod_namespace_prefix=PREFIX,
        pod_runner_image=RUNNER,
        pod_start_seconds=60,
        pod_quotas={ORGANIZATION: PodQuota(**QUOTA)},
    )


def plan_of_case(case: dict[str, Any], fusion: Any = "auto") -> Plan:
    """Compile a workflow of the corpus for the cluster."""
    compilation = compile_workflow(
        orjson.dumps(case["workflow"]), organization=ORGANIZATION, isolation="kubernetes", fusion=fusion
    )
    assert compilation.plan is not None, compilation.diagnostics
    return compilation.plan


def stubs_of(case: dict[str, Any]) -> Stubs:
    """Return the stubs of a case, without those that stand for tenant code."""
    return Stubs(case.get("stubs"))


def code(task_id: str, source: str, **fields: Any) -> dict[str, Any]:
    """Return a Python task."""
    task_config = {"language": "python", "input": fields.pop("input", {})}
    return {"id": task_id, "type": "code", "code": source, "config": task_config, **fields}


def workflow(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return a workflow."""
    trigger = {"type": "manual", "config": {}}
    return {"id": "pods", "name": "Pods", "version": "1", "trigger": trigger, "tasks": list(tasks), **fields}


def compiled(*tasks: dict[str, Any], **fields: Any) -> Plan:
    """Compile a workflow of some tasks."""
    return plan_of_case({"workflow": workflow(*tasks, **fields)})


def is_of_one_step(pod: client.V1Pod) -> bool:
    """Tell whether a pod is a container's or a JavaScript step's alone: then there is a file to take from it."""
    return any(mount.name == "results" for mount in pod.spec.containers[0].volume_mounts)


def load(path: Path) -> dict[str, Any]:
    """Read a case."""
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded
