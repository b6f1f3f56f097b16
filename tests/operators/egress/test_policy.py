"""The deployment's setting: what it allows, and what it never can."""

from __future__ import annotations

import pytest

from operators.egress.addresses import parse_address
from operators.egress.policy import EgressPolicy, Endpoint, is_local
from operators.settings import SettingsError, egress_policy

pytestmark = pytest.mark.unit


def allows(setting: str, host: str, port: int, address: str) -> bool:
    parsed = parse_address(address)
    assert parsed is not None
    return EgressPolicy.parse(setting).refusal(host, port, parsed) is None


@pytest.mark.parametrize(
    ("setting", "host", "port", "address"),
    [
        ("", "good.example", 443, "8.8.8.8"),
        ("db.internal", "db.internal", 5000, "10.0.0.1"),
        ("DB.internal:8080", "db.internal", 8080, "10.0.0.1"),
        (" a.example , db.internal ,", "db.internal", 80, "10.0.0.1"),
        ("10.0.0.1", "10.0.0.1", 80, "10.0.0.1"),
        ("10.0.0.1", "db.internal", 80, "10.0.0.1"),
        ("10.0.0.1:8080", "db.internal", 8080, "10.0.0.1"),
        ("10.0.0.0/8", "db.internal", 80, "10.9.9.9"),
        ("fd00::/8", "db.internal", 80, "fd12::1"),
        ("::1", "::1", 80, "::1"),
        ("[::1]:8080", "localhost", 8080, "::1"),
        ("fd00:0::1", "db.internal", 80, "fd00::1"),
        ("64:ff9b::/96", "good.example", 80, "64:ff9b::8.8.8.8"),
        ("64:ff9b::/96,10.0.0.0/8", "good.example", 80, "64:ff9b::10.0.0.1"),
    ],
)
def test_allowed(setting: str, host: str, port: int, address: str) -> None:
    assert allows(setting, host, port, address)


@pytest.mark.parametrize(
    ("setting", "host", "port", "address"),
    [
        ("", "db.internal", 80, "10.0.0.1"),
        ("db.internal", "evil.example", 80, "10.0.0.1"),
        ("db.internal", "x.db.internal", 80, "10.0.0.1"),
        ("db.internal:8080", "db.internal", 8081, "10.0.0.1"),
        ("10.0.0.1:8080", "10.0.0.1", 80, "10.0.0.1"),
        ("10.0.0.1", "db.internal", 80, "10.0.0.2"),
        ("10.0.0.0/9", "db.internal", 80, "10.128.0.0"),
        ("127.0.0.1", "x", 80, "::ffff:127.0.0.1"),
        ("64:ff9b::/96", "x", 80, "64:ff9b::10.0.0.1"),
        ("64:ff9b::/96", "x", 80, "64:ff9b::127.0.0.1"),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254"),
        ("169.254.0.0/16", "x", 80, "169.254.169.254"),
        ("0.0.0.0/0,::/0", "x", 80, "169.254.169.254"),
        ("0.0.0.0/0,::/0", "x", 80, "::ffff:169.254.169.254"),
        ("0.0.0.0/0,::/0", "x", 80, "64:ff9b::169.254.169.254"),
        ("fd00::/8", "x", 80, "fd00:ec2::254"),
        ("168.63.129.16", "168.63.129.16", 80, "168.63.129.16"),
        ("metadata.google.internal", "metadata.google.internal", 80, "169.254.169.254"),
    ],
)
def test_not_allowed(setting: str, host: str, port: int, address: str) -> None:
    assert not allows(setting, host, port, address)


@pytest.mark.parametrize(
    "entry",
    [
        "http://a.example",
        "a.example/x",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "a b",
        "*.example.com",
        "a.example:0",
        "a.example:x",
        "a.example:",
        "user@a.example",
        "127.1",
        "a.example?x",
        "[::1",
    ],
)
def test_what_cannot_be_read_is_an_error(entry: str) -> None:
    with pytest.raises(SettingsError, match="AGENT_FACTORY_EGRESS_ALLOW must be a comma list"):
        egress_policy({"AGENT_FACTORY_EGRESS_ALLOW": f"good.example,{entry}"})


def test_the_platforms_own_endpoints() -> None:
    policy = egress_policy(
        {
            "AGENT_FACTORY_API_URL": "http://127.0.0.1:8700",
            "AGENT_FACTORY_AMQP_URL": "amqps://u:p@rabbit.internal/vhost",
            "AGENT_FACTORY_REDIS_URL": "redis://:secret@cache.internal/0",
            "AIRFLOW__API__BASE_URL": "https://airflow.example/x",
            "AIRFLOW__CELERY__RESULT_BACKEND": "db+postgresql://u:p@db.internal/airflow",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://u@/airflow?host=/run/x",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": "http://[bad",
        }
    )
    assert policy.own == (
        Endpoint("127.0.0.1", 8700),
        Endpoint("rabbit.internal", 5671),
        Endpoint("cache.internal", 6379),
        Endpoint("airflow.example", 443),
        Endpoint("db.internal", 5432),
    )


@pytest.mark.parametrize(("address", "local"), [("127.0.0.1", True), ("127.0.0.9", True), ("192.0.2.1", False)])
def test_addresses_of_this_machine(address: str, local: bool) -> None:
    parsed = parse_address(address)
    assert parsed is not None
    assert is_local(parsed) is local
