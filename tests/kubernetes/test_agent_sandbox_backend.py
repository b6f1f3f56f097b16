"""Our pods behind Airflow's AI provider: its agent uses them by its own tools; what they cannot do is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("airflow.providers.common.ai.sandbox", reason="the extra `agents` is not installed")

from airflow.providers.common.ai.sandbox import (
    SandboxError,
    SandboxFileTooLargeError,
    SandboxSpec,
    SandboxTerminalError,
)
from airflow.providers.common.ai.toolsets.sandbox import SandboxToolset

from operators.pods import sandbox as sandbox_module
from operators.tasks.agent_sandbox import PodSandboxBackend
from tests.kubernetes.cluster import TestCluster
from tests.kubernetes.test_agent_sandbox import sandboxes_of
from tests.support import until

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(250)]


@pytest.fixture
def backend(cluster: TestCluster) -> Iterator[PodSandboxBackend]:
    yield PodSandboxBackend(lambda: sandboxes_of(cluster))
    until(lambda: not cluster.pods("agent"))


def test_the_contract(cluster: TestCluster, backend: PodSandboxBackend, tmp_path: Any) -> None:
    sandbox = backend.create(spec=SandboxSpec(env={"A": "b"}))
    try:
        [pod] = cluster.pods("agent")
        assert pod.metadata.labels["agent-factory/network"] == "none"
        assert not pod.spec.containers[0].env
        result = backend.run_command(sandbox, "echo $A; false", timeout=30, max_output_bytes=100)
        assert (result.exit_code, result.stdout, result.stderr, result.timed_out) == (1, "b\n", "", False)
        assert backend.run_command(sandbox, "sleep 30", timeout=0.5, max_output_bytes=100).timed_out
        backend.write_file(sandbox, "a/b", b"x" * 9_000_000)
        with pytest.raises(SandboxFileTooLargeError) as refused:
            backend.read_file(sandbox, "a/b", max_bytes=5)
        assert refused.value.size_bytes == 9_000_000
        assert backend.list_directory(sandbox, "a") == [("b", False)]
        with pytest.raises(SandboxError, match="'none': No such file"):
            backend.read_file(sandbox, "none", max_bytes=5)
        with (tmp_path / "exported").open("wb") as file:
            assert backend.export_file(sandbox, "a/b", file, max_bytes=10_000_000) == 9_000_000
        assert (tmp_path / "exported").read_bytes() == b"x" * 9_000_000
    finally:
        backend.destroy(sandbox)
        backend.destroy(sandbox)
    until(lambda: not cluster.pods("agent"))
    with pytest.raises(SandboxTerminalError):
        backend.read_file(sandbox, "a/b", max_bytes=5)


@pytest.mark.parametrize(
    "spec",
    [
        SandboxSpec(owner="somebody"),
        SandboxSpec(allow_egress_to=["pypi.org"]),
        SandboxSpec(allow_egress_to_cidrs=["203.0.113.0/24"]),
        SandboxSpec(block_network=False, allow_egress_to=["pypi.org"]),
    ],
)
def test_what_cannot_be_enforced_is_refused(spec: Any, cluster: TestCluster, backend: PodSandboxBackend) -> None:
    with pytest.raises(SandboxTerminalError, match="must be left out"):
        backend.create(spec=spec)
    assert not cluster.pods("agent")


@pytest.mark.parametrize("spec", [None, SandboxSpec()])
def test_an_open_network_is_refused(spec: Any, cluster: TestCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_module, "BLOCKED_SECONDS", 1.0)
    backend = PodSandboxBackend(lambda: sandboxes_of(cluster, network_policies="tried"))
    with pytest.raises(SandboxTerminalError, match="NetworkPolicy"):
        backend.create(spec=spec)
    assert not cluster.pods("agent")


def test_a_network_may_be_asked_for(cluster: TestCluster) -> None:
    backend = PodSandboxBackend(lambda: sandboxes_of(cluster, network_policies="tried"))
    sandbox = backend.create(spec=SandboxSpec(block_network=False))
    [pod] = cluster.pods("agent")
    backend.destroy(sandbox)
    assert pod.metadata.labels["agent-factory/network"] == "egress"


async def test_an_agent_of_the_provider_uses_it(cluster: TestCluster, backend: PodSandboxBackend) -> None:
    """A model writes a program, runs it, reads what it left; the sandbox goes with the run."""
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
    from pydantic_ai.models.function import AgentInfo, FunctionModel

    calls = [
        ToolCallPart("write_file", {"path": "p.py", "content": "print(6 * 7, file=open('out', 'w'))"}),
        ToolCallPart("run_command", {"command": "python3 p.py"}),
        ToolCallPart("read_file", {"path": "out"}),
    ]
    seen: set[str] = set()

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.update(pod.metadata.name for pod in cluster.pods("agent"))
        returned = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        if len(returned) < len(calls):
            return ModelResponse(parts=[calls[len(returned)]])
        return ModelResponse(parts=[TextPart(str(returned[-1].content))])

    agent = Agent(FunctionModel(model), toolsets=[SandboxToolset(backend)])
    result = await agent.run("compute")
    assert "42" in result.output
    assert len(seen) == 1
    until(lambda: not cluster.pods("agent"))
