"""Stage resolve: the triggers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.compiler.building import codes, plan_of, transform, workflow

pytestmark = pytest.mark.unit


def with_trigger(kind: str, config: dict[str, Any] | None = None) -> dict[str, Any]:
    return workflow(transform("a"), trigger={"type": kind, "config": config or {}})


@pytest.mark.parametrize(
    ("path", "served"),
    [("/webhook/customer-support", "customer-support"), ("orders", "orders"), ("/a/b.c/d_e-F", "a/b.c/d_e-F"),
     ("webhook/x", "webhook/x"), ("/webhook/webhook/x", "webhook/x")],
)  # fmt: skip
def test_webhook_paths(path: str, served: str) -> None:
    assert plan_of(with_trigger("webhook", {"path": path})).triggers[0].config["path"] == served


@pytest.mark.parametrize("path", ["", "/", "/webhook/", "a//b", "a/", "//a", "a b", "a/../b", "./a", "ä", "a?b", "{x}"])
def test_bad_webhook_paths(path: str) -> None:
    assert codes(with_trigger("webhook", {"path": path})) == [("invalid_trigger", "/trigger/config/path")]


def test_webhook_defaults_are_written_out() -> None:
    config = plan_of(with_trigger("webhook", {"path": "x", "method": "put"})).triggers[0].config
    assert config == {
        "path": "x",
        "method": "PUT",
        "auth": {"type": "none"},
        "response": {"mode": "async", "timeout_seconds": 30.0},
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("missing_field", "/trigger/config")),
        ({"path": "x", "method": "FETCH"}, ("invalid_trigger", "/trigger/config/method")),
        ({"path": "x", "method": 1}, ("invalid_field", "/trigger/config/method")),
        ({"path": "x", "auth": {}}, ("missing_field", "/trigger/config/auth")),
        ({"path": "x", "auth": {"type": "basic"}}, ("invalid_field", "/trigger/config/auth/type")),
        ({"path": "x", "auth": {"type": "none", "secret": "s"}}, ("unknown_field", "/trigger/config/auth/secret")),
        ({"path": "x", "response": {"mode": "later"}}, ("invalid_field", "/trigger/config/response/mode")),
        ({"path": "x", "response": {"timeout": "x"}}, ("invalid_field", "/trigger/config/response/timeout")),
        ({"path": "x", "reponse": {}}, ("unknown_field", "/trigger/config/reponse")),
    ],
)
def test_bad_webhooks(config: dict[str, Any], expected: tuple[str, str]) -> None:
    assert codes(with_trigger("webhook", config)) == [expected]


def test_trigger_and_triggers() -> None:
    both = workflow(transform("a"), triggers=[{"type": "manual"}])
    assert codes(both) == [("invalid_field", "/triggers")]
    none = workflow(transform("a"))
    del none["trigger"]
    assert codes(none) == [("missing_field", "")]
    several = {**none, "triggers": [{"type": "manual"}, {"type": "webhook", "config": {"path": "x"}}]}
    assert [trigger.type for trigger in plan_of(several).triggers] == ["manual", "webhook"]
    assert codes({**none, "triggers": []}) == [("invalid_field", "/triggers")]


def test_too_many_triggers() -> None:
    source = workflow(transform("a"), triggers=[{"type": "manual"}] * 101)
    del source["trigger"]
    assert codes(source) == [("limit_exceeded", "/triggers")]


def test_two_webhooks_of_one_address() -> None:
    hooks = [{"type": "webhook", "config": {"path": path}} for path in ("x", "/webhook/x", "y")]
    source = workflow(transform("a"), triggers=hooks)
    del source["trigger"]
    assert codes(source) == [("invalid_trigger", "/triggers/1/config/path")]


@pytest.mark.parametrize(
    "cron",
    ["", "nonsense", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "0 0 * * 8", "H * * * *",
     "H/5 * * * *", "h(1-5) * * * *", "R * * * *",
     "@daily", "*/0 * * * *", "0 0 * * mon#9", "٣ * * * *"],
)  # fmt: skip
def test_bad_crons(cron: str) -> None:
    assert ("invalid_trigger", "/trigger/config/cron") in codes(with_trigger("schedule", {"cron": cron}))


@pytest.mark.parametrize(
    "cron", ["0 9 * * 1-5", "*/15 * * * *", "0 0 29 2 *", "0 0 1 jan,mar,APR *", "0 9 * * THU", "0 9 * * FRI"]
)
def test_crons(cron: str) -> None:
    config = {"cron": cron, "timezone": "Europe/Berlin", "input": {"x": 1}}
    assert codes(with_trigger("schedule", config)) == [("unavailable_type", "/trigger/type")]


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../etc/passwd", "Europe", "/etc/localtime", "a\0b"])
def test_bad_time_zones(zone: str) -> None:
    config = {"cron": "0 9 * * *", "timezone": zone}
    assert ("invalid_trigger", "/trigger/config/timezone") in codes(with_trigger("schedule", config))
