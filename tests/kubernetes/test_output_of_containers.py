"""What a container prints while it runs comes into the log within seconds, each line once, whoever looks at the pod."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest
from kubernetes_asyncio import client, config

from operators.pods.output import CUT
from operators.steps.base import StepKey, StepResult, StepServices, Waiting, Wake
from operators.steps.registry import IN_PODS
from operators.tasks.pod_trigger import PodTrigger
from tests.kubernetes.cluster import IMAGE, TestCluster, compiled

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(200)]

PRINTS = {
    "text": ("echo line $i", "line {}"),
    "no UTF-8": (r"printf 'line %s \377\n' $i", "line {} \N{REPLACEMENT CHARACTER}"),
}
SCRIPT = "for i in 0 1 2 3 4 5 6 7 8 9 10 11; do {}; sleep 0.5; done; echo 1 > $AGENT_FACTORY_OUTPUT"
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
    configuration = client.Configuration()
    path = cluster.folder / "acme.kubeconfig"
    await config.load_kube_config(config_file=str(path), client_configuration=configuration)
    async with client.ApiClient(configuration) as connection:
        assert not await trigger._has_news(client.CoreV1Api(connection))
    return collector.lines


@pytest.mark.parametrize(("command", "line"), PRINTS.values(), ids=PRINTS)
async def test_each_line_once_through_worker_triggerer_and_worker(
    cluster: TestCluster, command: str, line: str
) -> None:
    config = {"command": ["sh", "-c", SCRIPT.format(command)]}
    task = {"id": "a", "type": "container", "runtime_image": IMAGE, "config": config}
    [step] = compiled(task).steps
    handler = IN_PODS["container"]
    job = handler.render(step, {"input": {}})
    now = datetime.now(UTC)
    waiting = Waiting(StepKey("output", 0, "a"), now)
    shown: list[list[str]] = [[], []]
    first, second = cluster.pool(hold_seconds=3), cluster.pool(hold_seconds=60)
    first.show, second.show = shown[0].append, shown[1].append
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
