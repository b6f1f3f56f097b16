"""Stage resolve: the triggers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from croniter import croniter
from hypothesis import assume, given
from hypothesis import strategies as st

from compiler.crons import PRINTED_CRON, CronError, last_due, printed_cron
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
    "cron",
    ["0 9 * * 1-5; rm -rf /", "0 9 * * '", '0 9 * * "', "0 9 * * 1)", "{{ 1 }} * * * *", "0 0 L * *", "0 0 ? * *",
     "0 0 * * 1#2", "0 0 15W * *", "0 9 * * mon-", "0 9 * * -1", "0,,1 * * * *", "1- * * * *", "*/60 * * * *",
     "0 */24 * * *", "0 9 * * MONDAY", "0 9 * jan,mon *", "100 * * * *", "0 9 * * 1\\", "+1 * * * *", "1_0 * * * *",
     "@reboot * * * *", "0 0 0 * *", "0 0 * 13 *", "**/2 * * * *", "*-5 * * * *", "0 9 31 2,4,6,9,11 *",
     "0 9 * * 1" + ",1" * 300],
)  # fmt: skip
def test_hostile_crons(cron: str) -> None:
    assert codes(with_trigger("schedule", {"cron": cron})) == [("invalid_trigger", "/trigger/config/cron")]


@pytest.mark.parametrize(
    ("cron", "printed"),
    [
        ("0 9 * * 1-5", "0 9 * * 1-5"),
        ("*/15 * * * *", "*/15 * * * *"),
        ("0,15,30,45 * * * *", "*/15 * * * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 1 jan,mar,APR *", "0 0 1 1,3,4 *"),
        ("0 9 * * THU", "0 9 * * 4"),
        ("  00\t09 * *   FRI ", "0 9 * * 5"),
        ("0 9 * * fri-sun", "0 9 * * 0,5,6"),
        ("0 9 * * 5-7", "0 9 * * 0,5,6"),
        ("0 9 * * 0-7", "0 9 * * *"),
        ("0 9 * * 7", "0 9 * * 0"),
        ("0 9 * * 5-5", "0 9 * * 5"),
        ("59/2 23/5 31/2 * 6/3", "59 23 31 * 6"),
        ("0 22-2 * * *", "0 0-2,22,23 * * *"),
        ("5/15 1-9/4 * * *", "5,20,35,50 1,5,9 * * *"),
        ("0-59/1 * * * *", "* * * * *"),
    ],
)
def test_crons_are_printed_anew(cron: str, printed: str) -> None:
    config = {"cron": cron, "timezone": "Europe/Berlin", "input": {"x": 1}}
    expected = {"cron": printed, "timezone": "Europe/Berlin", "input": {"x": 1}}
    assert plan_of(with_trigger("schedule", config)).triggers[0].config == expected
    assert printed_cron(printed) == printed


FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


@st.composite
def cron_fields(draw: st.DrawFn, low: int, high: int) -> str:
    numbers = st.integers(low, high)
    item = st.one_of(
        st.just("*"),
        numbers.map(str),
        st.tuples(numbers, numbers).filter(lambda pair: pair[0] < pair[1]).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.integers(1, high).map(lambda step: f"*/{step}"),
    )
    return ",".join(draw(st.lists(item, min_size=1, max_size=4)))


def numbers_of(cron: str) -> list[set[Any]]:
    expanded = zip(croniter(cron).expanded, FIELDS, strict=True)
    return [set(range(low, high + 1)) if "*" in part else set(part) for part, (low, high) in expanded]


@given(fields=st.tuples(*(cron_fields(low, high) for low, high in FIELDS)))
def test_printing_changes_no_time(fields: tuple[str, ...]) -> None:
    """croniter knows the printed expression by the same times as the one that was written."""
    cron = " ".join(fields)
    try:
        printed = printed_cron(cron)
    except CronError:
        assume(False)
    assert PRINTED_CRON.fullmatch(printed)
    assert numbers_of(printed) == numbers_of(cron)


def test_schedule_defaults_are_written_out() -> None:
    config = plan_of(with_trigger("schedule", {"cron": "0 9 * * *"})).triggers[0].config
    assert config == {"cron": "0 9 * * *", "timezone": "UTC", "input": {}}


def test_input_of_a_schedule_is_checked() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    def found(config: dict[str, Any]) -> list[tuple[str, str]]:
        return codes(with_trigger("schedule", {"cron": "0 9 * * *", **config}) | {"input": schema})

    assert found({"input": {"name": "Ann"}}) == []
    assert found({"input": {"name": 1}}) == [("invalid_trigger", "/trigger/config/input/name")]
    assert found({"input": None}) == [("invalid_trigger", "/trigger/config/input")]
    assert found({}) == [("invalid_trigger", "/trigger/config")]


def test_two_schedules_of_the_same_times() -> None:
    times = [("0 9 * * mon", "UTC"), ("0 9 * * 2", "UTC"), ("0 9 * * 1", "Europe/Berlin"), ("00 9 * * 1", "UTC")]
    triggers = [{"type": "schedule", "config": {"cron": cron, "timezone": zone}} for cron, zone in times]
    source = workflow(transform("a"), triggers=triggers)
    del source["trigger"]
    assert codes(source) == [("invalid_trigger", "/triggers/3/config/cron")]


def test_keys_of_a_scheduled_trigger() -> None:
    def found(expression: str, *types: str) -> list[tuple[str, str]]:
        configs = {"schedule": {"cron": "0 9 * * *"}, "webhook": {"path": "x"}}
        triggers = [{"type": name, "config": configs[name]} for name in types]
        source = workflow(transform("a", {"x": "{{ trigger." + expression + " }}"}), triggers=triggers)
        del source["trigger"]
        return codes(source)

    wrong = [("undefined_reference", "/tasks/0/config/set/x")]
    assert found("scheduled_at", "schedule") == []
    assert found("scheduled_at", "webhook", "schedule") == []
    assert found("scheduled_at", "webhook") == wrong
    assert found("scheduled", "schedule") == wrong


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-24T08:00:00+00:00", "2026-11-24T08:00:00+00:00"),
        ("2026-11-24T07:59:59+00:00", "2026-11-23T08:00:00+00:00"),
        ("2026-07-01T07:00:00+00:00", "2026-07-01T07:00:00+00:00"),
    ],
)
def test_when_a_schedule_was_due_last(at: str, expected: str) -> None:
    due = last_due("0 9 * * *", "Europe/Berlin", datetime.fromisoformat(at))
    assert due == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "zone",
    ["", "Mars/Base", "../etc/passwd", "Europe", "/etc/localtime", "a\0b", "localtime", "posix/UTC", "utc",
     "UTC\n", 'UTC")', "Europe/Berlin'", "{{ x }}"],
)  # fmt: skip
def test_bad_time_zones(zone: str) -> None:
    config = {"cron": "0 9 * * *", "timezone": zone}
    assert ("invalid_trigger", "/trigger/config/timezone") in codes(with_trigger("schedule", config))
