"""The environment of Airflow's processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.platform import airflow
from api.platform.errors import PlatformError
from api.platform.home import Home
from api.platform.postgres import locate
from operators.egress.policy import Endpoint
from operators.settings import egress_policy

pytestmark = pytest.mark.unit


def environment(folder: Path, **base: str) -> dict[str, str]:
    home = Home(folder / "home", 18700, 18080)
    home.prepare()
    credentials = home.credentials()
    return airflow.environment(home, credentials, locate(home.path, credentials.postgres_password), base)


def test_nothing_of_the_caller_but_what_steps_may_reach(tmp_path: Path) -> None:
    found = environment(
        tmp_path,
        AGENT_FACTORY_EGRESS_ALLOW="10.0.0.0/8",
        AGENT_FACTORY_API_TOKEN="caller",
        OPENAI_API_KEY="caller",
        AIRFLOW__CORE__FERNET_KEY="caller",
    )
    assert found["AGENT_FACTORY_EGRESS_ALLOW"] == "10.0.0.0/8"
    assert "caller" not in found.values()


def test_its_own_ports_are_never_reached_from_a_step(tmp_path: Path) -> None:
    policy = egress_policy(environment(tmp_path))
    assert {Endpoint("127.0.0.1", 18700), Endpoint("127.0.0.1", 18080)} <= set(policy.own)
    assert policy.hosts == ()


def test_a_setting_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"AGENT_FACTORY_EGRESS_ALLOW must be a comma list.*'http://x'"):
        environment(tmp_path, AGENT_FACTORY_EGRESS_ALLOW="http://x")
