"""Upkeep of pods: which go, by their execution's end, and that one that does not go keeps no other from it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.namespaces import jobs
from api.namespaces.cluster import FoundPod, NamespaceError
from api.settings import Settings
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.namespaces.test_publish_with_pods import started

pytestmark = pytest.mark.platform


class Cluster:
    """Stands for the organisations' namespaces.

    :param stuck: Names of pods that do not go.
    :param away: Organisations whose namespace cannot be read.
    """

    def __init__(self) -> None:
        self.found: list[FoundPod] = []
        self.deleted: list[str] = []
        self.stuck: set[str] = set()
        self.away: set[str] = set()

    def add(self, name: str, execution: str, age: float) -> None:
        """Put a pod into the namespace of ``default``."""
        self.found.append(FoundPod(name, name, execution, datetime.now(UTC) - timedelta(seconds=age)))

    def pods(self, organization: str) -> list[FoundPod]:
        """Return an organisation's pods."""
        if organization in self.away:
            raise NamespaceError("the API server is away")
        return self.found if organization == "default" else []

    def delete_pod(self, organization: str, pod: FoundPod) -> None:
        """Delete one."""
        if pod.name in self.stuck:
            raise NamespaceError("the API server answered HTTP 500")
        self.deleted.append(pod.name)

    def warm(self, organization: str, settings: object) -> dict[str, int]:
        """Keep no warm pods."""
        return {"warm_started": 0}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"isolation": "kubernetes", "secret_key": SecretStr("k" * 32)})


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(jobs, "open_namespaces", lambda settings: made)
    return made


async def remove_pods(plane: ControlPlane) -> dict[str, int]:
    nothing = cast("Any", None)
    return await jobs.remove_pods(Tools(plane.app.state.settings, plane.database, nothing, nothing))


async def ended(plane: ControlPlane, seconds: float) -> str:
    """Return an execution that has been over for so long."""
    execution_id = await started(plane)
    await plane.api.post(f"/api/v1/executions/{execution_id}/cancel")
    async with plane.database.system() as session:
        past = "UPDATE workflow_executions SET completed_at = now() - make_interval(secs => :seconds) WHERE id = :id"
        await session.execute(text(past), {"seconds": seconds, "id": execution_id})
    return execution_id


async def test_it_counts_from_the_executions_end(control_plane: ControlPlane, cluster: Cluster) -> None:
    running = await started(control_plane)
    cluster.add("of a running one, old", running, 4000)
    cluster.add("of one that is over, young", await ended(control_plane, 11), 12)
    cluster.add("of one that has just ended", await ended(control_plane, 0), 4000)
    cluster.add("of nobody, old", str(uuid4()), 61)
    cluster.add("of nobody, young", str(uuid4()), 30)
    cluster.add("unreadable, old", "x", 61)
    counts = await remove_pods(control_plane)
    assert cluster.deleted == ["of one that is over, young", "of nobody, old", "unreadable, old"]
    assert (counts["seen"], counts["removed"], counts["failed"]) == (6, 3, 0)


async def test_what_fails_is_counted_when_all_have_been_tried(control_plane: ControlPlane, cluster: Cluster) -> None:
    await People(control_plane).client("organization_owner", "another")
    cluster.away = {"another"}
    cluster.stuck = {"first"}
    for name in ("first", "second"):
        cluster.add(name, await ended(control_plane, 60), 100)
    counts = await remove_pods(control_plane)
    assert cluster.deleted == ["second"]
    assert (counts["removed"], counts["failed"], counts["warm_started"]) == (1, 2, 0)
