"""Shared parts of the runner's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.operators.execution.runner_tools import Scripted, scripted_type


@pytest.fixture
def types() -> Iterator[Scripted]:
    """A step type that does what the test's script says."""
    with scripted_type() as handler:
        yield handler
