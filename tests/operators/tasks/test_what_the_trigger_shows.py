"""What a container prints while its task is deferred: masked, and not shown while nobody says what to mask."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from operators.execution.records import Redactions
from operators.execution.store import StoreError
from operators.pods.output import SHOWN
from operators.tasks.pod_trigger import PodTrigger

pytestmark = pytest.mark.unit

KEY = "sk-secret-0123456789"


class Log:
    """Stands for the API server's answer."""

    async def __aenter__(self) -> Log:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def raise_for_status(self) -> None:
        """Be a good answer."""

    async def read(self) -> bytes:
        """Return what the container has printed."""
        return f"with {KEY}\n".encode()


class Api:
    """Stands for the API server: a container that prints a key."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}

    async def read_namespaced_pod_log(self, *_: Any, **options: Any) -> Log:
        """Return what it has printed."""
        return Log()

    async def patch_namespaced_pod(self, name: str, namespace: str, body: dict[str, Any]) -> None:
        """Keep the note."""
        self.notes |= body["metadata"]["annotations"]


class Store:
    """Stands for the control plane.

    :param away: Whether it does not answer.
    """

    away = False
    asked: ClassVar[list[str]] = []

    def __init__(self, settings: object) -> None:
        pass

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def redactions(self, execution_id: str) -> Redactions:
        """Answer the key."""
        self.asked.append(execution_id)
        if Store.away:
            raise StoreError("away")
        return Redactions(values=[KEY])


@pytest.fixture
def trigger(monkeypatch: pytest.MonkeyPatch) -> PodTrigger:
    monkeypatch.setattr("operators.execution.http.HttpStore", Store)
    monkeypatch.setattr("operators.settings.runtime_settings", lambda: None)
    monkeypatch.setattr(Store, "away", False)
    monkeypatch.setattr(Store, "asked", [])
    return PodTrigger("execution", (), None, "connection", "namespace", [("pod", None)])


async def shown(trigger: PodTrigger, api: Api, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Look once; return the lines of the log."""
    logger = logging.getLogger("test-of-trigger")
    trigger._log = logger  # type: ignore[assignment]
    caplog.clear()
    with caplog.at_level(logging.INFO, logger.name):
        await trigger._show(api, SimpleNamespace(metadata=SimpleNamespace(name="pod", annotations=api.notes)))
    return [record.getMessage() for record in caplog.records if record.name == logger.name]


async def test_masked_and_asked_for_once(trigger: PodTrigger, caplog: pytest.LogCaptureFixture) -> None:
    api = Api()
    assert await shown(trigger, api, caplog) == ["| with ***"]
    assert api.notes == {SHOWN: str(len(f"with {KEY}\n"))}
    assert await shown(trigger, api, caplog) == []
    assert Store.asked == ["execution"]
    # Airflow stores what this returns.
    assert KEY not in str(trigger.serialize())


async def test_nothing_is_shown_until_it_is_known_what_to_mask(
    trigger: PodTrigger, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api()
    Store.away = True
    assert await shown(trigger, api, caplog) == []
    assert api.notes == {}
    Store.away = False
    assert await shown(trigger, api, caplog) == ["| with ***"]
