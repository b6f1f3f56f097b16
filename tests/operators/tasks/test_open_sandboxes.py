"""Whose sandboxes a task opens: those of its execution, also where Airflow made the run itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.cncf.kubernetes.hooks import kubernetes

from compiler.plan import Step
from compiler.planning import limits_of
from operators.execution.memory import InMemoryStore
from operators.execution.records import LeaseGrant, LeaseRequest, PodSettings
from operators.execution.runner import run_unit, store_services
from operators.pods.sandbox import PodSandboxes
from operators.steps.base import Scope, StepKey, StepResult, StepServices
from operators.steps.registry import HANDLERS
from operators.tasks.open_sandboxes import open_with_airflow
from tests.operators.execution.plans import plan_of, step
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.unit

RUN = "scheduled__2026-11-24T09:00:00+00:00"
OWN = "019abf52-64a2-7c01-8d2f-3c6f9f1d2e11"
SETTINGS = PodSettings(namespace="agent-factory-acme", runner_image="runner:1")
OPTIONS: dict[str, Any] = {"unit": "a", "image": "python:3.11-slim", "limits": limits_of(None)}


class Adopting(InMemoryStore):
    """Knows a run that Airflow made by its execution, as the control plane does."""

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        return await super().lease({RUN: OWN}[execution_id], request)


class Agent:
    """A type of step that opens its sandboxes."""

    def __init__(self) -> None:
        self.opened: PodSandboxes | None = None

    def render(self, step: Step, scope: Scope) -> None:
        return None

    async def call(self, request: Any, services: StepServices, key: StepKey) -> StepResult:
        self.opened = await asyncio.to_thread(open_with_airflow("acme", key.execution_id, **OPTIONS))
        return StepResult(None)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setattr(kubernetes, "KubernetesHook", lambda conn_id: SimpleNamespace(core_v1_client=conn_id))
    monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "token")
    HANDLERS["agent_of_test"] = handler = Agent()
    with HttpServer() as server:
        body = SETTINGS.model_dump_json().encode()
        server.on(f"/runtime/v1/executions/{OWN}/pods", lambda exchange: exchange.answer(200, body))
        monkeypatch.setenv("AGENT_FACTORY_API_URL", server.url("").rstrip("/"))
        yield handler
    del HANDLERS["agent_of_test"]


async def test_an_adopted_run_has_the_sandboxes_of_its_execution(agent: Agent) -> None:
    store, plan = Adopting(), plan_of(step("a", type="agent_of_test"))
    store.accept(OWN, plan)
    services = store_services(store, RUN)
    outcome = await run_unit(plan, "all", store, services, execution_id=RUN, owner="me", plan_digest="0" * 64)
    await services.close()
    assert outcome.kind == "done"
    assert agent.opened is not None
    assert agent.opened.execution_id == OWN
    assert (agent.opened.settings, agent.opened.unit) == (SETTINGS, "a")


@pytest.mark.parametrize("run_id", [RUN, "manual__2026-11-24T09:00:00+00:00", "run-1", ""])
def test_the_id_of_a_run_is_refused(run_id: str) -> None:
    with pytest.raises(ValueError, match="own id"):
        open_with_airflow("acme", run_id, **OPTIONS)
