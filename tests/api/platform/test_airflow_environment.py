"""The environment of Airflow's processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.platform import airflow
from api.platform.celery import REDIS_URL, WORKERS, Celery, celery
from api.platform.errors import PlatformError
from api.platform.home import Home
from api.platform.postgres import locate
from operators.egress.policy import Endpoint
from operators.settings import egress_policy
from plugins.local_executor import BoundedLocalExecutor

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


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ""),
        ({"AGENT_FACTORY_ISOLATION": "process", "OPENAI_API_KEY": "x"}, "openai"),
        ({"AGENT_FACTORY_ISOLATION": "kubernetes", "ANTHROPIC_API_KEY": "x"}, "anthropic,kubernetes"),
    ],
)
def test_what_is_imported_ahead(given: dict[str, str], named: str, tmp_path: Path) -> None:
    assert environment(tmp_path, **given)["AGENT_FACTORY_PRELOAD"] == named


@pytest.mark.parametrize(("value", "seconds"), [({}, "0.1"), ({airflow.SCHEDULER_IDLE: "2"}, "2.0")])
def test_how_long_an_idle_scheduler_sleeps(value: dict[str, str], seconds: str, tmp_path: Path) -> None:
    assert environment(tmp_path, **value)["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == seconds


@pytest.mark.parametrize("value", ["soon", "0", "-1", "11", "nan", "inf"])
def test_a_scheduler_that_would_never_sleep_or_wake(value: str, tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=rf"SECONDS must be a number of seconds from 0.01 to 10; got '{value}'"):
        environment(tmp_path, **{airflow.SCHEDULER_IDLE: value})


def test_a_setting_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match=r"AGENT_FACTORY_EGRESS_ALLOW must be a comma list.*'http://x'"):
        environment(tmp_path, AGENT_FACTORY_EGRESS_ALLOW="http://x")


@pytest.mark.parametrize(
    ("workers", "url", "problem"),
    [
        ("none", "redis://here", r"AGENT_FACTORY_CELERY_WORKERS must be a number from 1 to 32; got 'none'"),
        ("0", "redis://here", "must be a number from 1 to 32; got '0'"),
        ("33", "redis://here", "must be a number from 1 to 32; got '33'"),
        ("2", "", "needs AGENT_FACTORY_REDIS_URL, a URL like 'redis://"),
        ("2", "http://here", "needs AGENT_FACTORY_REDIS_URL"),
    ],
)
def test_celery_that_cannot_be_used(workers: str, url: str, problem: str) -> None:
    with pytest.raises(PlatformError, match=problem):
        celery({WORKERS: workers, REDIS_URL: url})


def test_celery_takes_no_more_than_its_workers(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", 18700, 18080)
    home.prepare()
    credentials = home.credentials()
    cluster = locate(home.path, credentials.postgres_password)
    found = airflow.settings(home, credentials, cluster, Celery(3, "redis://here/0"))
    assert found["AIRFLOW__CORE__EXECUTOR"] == "CeleryExecutor"
    assert found["AIRFLOW__CELERY__BROKER_URL"] == "redis://here/0"
    tasks = int(found["AIRFLOW__CELERY__WORKER_CONCURRENCY"]) * 3
    assert int(found["AIRFLOW__CORE__PARALLELISM"]) == tasks
    local = f"{BoundedLocalExecutor.__module__}.{BoundedLocalExecutor.__qualname__}"
    assert airflow.settings(home, credentials, cluster)["AIRFLOW__CORE__EXECUTOR"] == local
