"""A short chaos: a few executions while each part of the platform is killed or frozen once."""

from __future__ import annotations

import pytest

from tests.chaos.run import run

pytestmark = [pytest.mark.platform, pytest.mark.timeout(900)]


def test_nothing_lost_nothing_twice() -> None:
    run(executions=20, disruptions=10, seed=20)
