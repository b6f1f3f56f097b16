"""What a container prints while it runs comes into the log within seconds, each line once, whoever looks at the pod."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from kubernetes_asyncio import client, config

from operators.pods.masking import Masker
from operators.pods.output import CUT
from operators.steps.base import StepKey, StepResult, StepServices, Waiting, Wake
from operators.steps.registry import IN_PODS
from operators.tasks.pod_trigger import PodTrigger
from tests.kubernetes.cluster import IMAGE, TestCluster, code, compiled

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(200)]

PRINTS = {
    "text": ("echo line $i $KEY", "line {} ***"),
    "no UTF-8": (r"printf 'line %s %s \377\n' $i $KEY", "line {} *** \N{REPLACEMENT CHARACTER}"),
}
SCRIPT = "for i in 0 1 2 3 4 5 6 7 8 9 10 11; do {}; sleep 0.5; done; echo 1 > $AGENT_FACTORY_OUTPUT"
SECRET = "sk-of-the-organisation"
CODE = "def main(input):\n    print('with', input['key'])\n    print('done')\n    return 1\n"
FAILING = "def main(input):\n    print('it was', input['key'])\n    raise ValueError(input['key'])\n"
LOUD = "yes loud | head -c 3000000; echo 1 > $AGENT_FACTORY_OUTPUT"


class Collector(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())


async def through_the_trigger(cluster: TestCluster, wake: Wake) -> list[str]:
    """Look once as the triggerer does; return what it logs."""
    [pod] = wake.pods
    trigger = PodTrigger("output", (), None, "unused", pod.namespace, [(pod.name, pod.job)])
    collector, logger = Collector(), logging.getLogger("test-of-output")
    logger.addHandler(collector)
    logger.setLevel(logging.INFO)
    trigger._log = logger  # type: ignore[assignment]
    # As the control plane tells it.
    trigger._mask = Masker([SECRET])
    configuration = client.Configuration()
    path = cluster.folder / "acme.kubeconfig"
    await config.load_kube_config(config_file=str(path), client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        assert not await trigger._has_news(client.CoreV1Api(connection))
    return collector.lines


async def secrets() -> list[str]:
    """Answer as the control plane does."""
    return [SECRET]


@pytest.mark.parametrize(("command", "line"), PRINTS.values(), ids=PRINTS)
async def test_each_line_once_through_worker_triggerer_and_worker(
    cluster: TestCluster, command: str, line: str
) -> None:
    config = {"command": ["sh", "-c", SCRIPT.format(command)], "env": {"KEY": SECRET}}
    task = {"id": "a", "type": "container", "runtime_image": IMAGE, "config": config}
    [step] = compiled(task).steps
    handler = IN_PODS["container"]
    job = handler.render(step, {"input": {}})
    now = datetime.now(UTC)
    waiting = Waiting(StepKey("output", 0, "a"), now)
    shown: list[list[str]] = [[], []]
    first, second = cluster.pool(hold_seconds=3), cluster.pool(hold_seconds=60)
    first.show, second.show = shown[0].append, shown[1].append
    first.secrets = second.secrets = secrets
    try:
        wake = await first.look(job, waiting, now)
        while isinstance(wake, Wake) and not shown[0]:
            wake = await first.look(job, waiting, now)
        assert isinstance(wake, Wake)
        meanwhile = await through_the_trigger(cluster, wake)
        result = await second.look(job, waiting, now)
        assert isinstance(result, StepResult)
    finally:
        await second.remove("output")
        await StepServices(None, pods=first).close()  # type: ignore[arg-type]
        await second.close()
    assert [*shown[0], *meanwhile, *shown[1]] == ["| " + line.format(number) for number in range(12)]
    assert shown[0]
    assert shown[1]


async def test_a_flood_is_cut(cluster: TestCluster) -> None:
    task = {"id": "a", "type": "container", "runtime_image": IMAGE, "config": {"command": ["sh", "-c", LOUD]}}
    lines: list[str] = []
    pool = cluster.pool()
    pool.show = lines.append
    result = await cluster.run(compiled(task), "flood", pool, input={})
    assert result.output == {"a": 1}
    assert lines[-1] == CUT
    assert lines.count(CUT) == 1
    assert sum(map(len, lines)) < 200_000


async def test_what_python_steps_print_is_shown_when_each_has_ended(cluster: TestCluster) -> None:
    lines: list[str] = []
    pool = cluster.pool()
    pool.show, pool.secrets = lines.append, secrets
    first = code("a", CODE, input={"key": SECRET}, next=["b"])
    second = code("b", "def main(input):\n    print('second')\n    return 2\n")
    result = await cluster.run(compiled(first, second), "prints", pool, input={})
    assert result.output == {"b": 2}
    assert lines == ["| with ***", "| done", "| second"]


@pytest.mark.parametrize("kind", ["code", "container"])
async def test_a_failure_tells_no_secret(kind: str, cluster: TestCluster) -> None:
    lines: list[str] = []
    pool = cluster.pool()
    pool.show, pool.secrets = lines.append, secrets
    config = {"command": ["sh", "-c", "echo it was $KEY; exit 3"], "env": {"KEY": SECRET}}
    container = {"id": "a", "type": "container", "runtime_image": IMAGE, "config": config}
    task = container if kind == "container" else code("a", FAILING, input={"key": SECRET})
    result = await cluster.run(compiled(task), f"fails-{kind}", pool, input={})
    error = result.steps["a"].error
    assert error is not None
    assert error.message.endswith("It printed last:\nit was ***")
    assert SECRET not in error.message
    assert lines == ["| it was ***"]
