"""A bundle of a stub of the control plane, in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.releases import Releases, serving


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    """The stub that the bundle pulls from."""
    with serving() as stub:
        monkeypatch.setenv("AGENT_FACTORY_API_URL", stub.url)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "token")
        yield stub


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Airflow lets bundles keep their files; returns our bundle's folder."""
    monkeypatch.setattr("airflow.dag_processing.bundles.base.get_bundle_storage_root_path", lambda: tmp_path)
    monkeypatch.setattr("airflow.dag_processing.bundles.base.STALE_BUNDLE_TRACKING_FOLDER", tmp_path / "_tracking")
    return tmp_path / "agent_factory"
