"""Executions while the platform under them is killed and frozen, and what must be true of them afterwards."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg2
import pytest

from api.platform import client
from api.platform.home import Home
from api.platform.postgres import locate
from api.platform.supervisor import Supervisor
from tests.chaos.disruptor import Disruption, Disruptor
from tests.chaos.models import NumberedModels
from tests.chaos.processes import Relays
from tests.chaos.workflows import CASES, ITEMS, Case
from tests.support import MODEL_KEY, Platform, airflow_client, temporary_home

ACCEPT_SECONDS = 400.0
"""How long the control plane may take to have an execution, whatever is done to it."""
RELAYS = 2


@dataclass
class Trigger:
    """One accepted request. Times are of ``time.monotonic``."""

    case: Case
    tag: str
    accepted: float
    execution_id: str
    ended: float = 0.0
    view: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a run of chaos left."""

    platform: Platform
    models: NumberedModels
    triggers: list[Trigger]
    disruptions: list[Disruption]


@contextmanager
def disrupted_platform(models: NumberedModels, environment: dict[str, str]) -> Iterator[tuple[Platform, Relays]]:
    """Start a platform whose relays are processes of their own, so that they can be killed alone."""
    with temporary_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", MODEL_KEY)
        patch.setenv("OPENAI_BASE_URL", models.openai_url)
        patch.setenv("AGENT_FACTORY_RELAY", "false")
        for name, value in environment.items():
            patch.setenv(name, value)
        running = client.start(home, detach=False, restart=True)
        try:
            running.wait_ready(lambda text: print(f"platform: {text}", flush=True))
            state = home.read_state()
            headers = {"Authorization": f"Bearer {state['api_token']}"}
            relays = Relays(RELAYS, relay_environment(home), home.logs / "relay.log")
            with (
                httpx.Client(base_url=home.api_url, headers=headers, timeout=30) as http,
                airflow_client(home) as airflow,
            ):
                try:
                    yield (
                        Platform(home, state, http, airflow, locate(home.path, home.credentials().postgres_password)),
                        relays,
                    )
                finally:
                    relays.stop()
                    keep_logs(home)
        finally:
            running.stop()


def keep_logs(home: Home) -> None:
    """Copy the logs to the folder that ``CHAOS_LOGS`` names, if it does: the platform's own go with it."""
    if folder := os.environ.get("CHAOS_LOGS"):
        shutil.copytree(home.logs, folder, dirs_exist_ok=True)


def relay_environment(home: Home) -> dict[str, str]:
    """Return the control plane's environment, for relays outside of it."""
    return Supervisor(home, restart=True, report=lambda event, text: None).api_environment()


def chaos(
    platform: Platform,
    relays: Relays,
    models: NumberedModels,
    *,
    executions: int,
    disruptions: int,
    seed: int,
    cases: tuple[Case, ...] = CASES,
) -> Outcome:
    """Start executions one after the other while a disruptor is at work; return when all have ended.

    :raises AssertionError: One did not end in time.
    """
    for case in cases:
        published = platform.publish(case.document)
        platform.until(lambda published=published: platform.airflow_has(published["dag_id"], published["digest"]))
    print(f"chaos: {executions} executions, {disruptions} disruptions, seed {seed}", flush=True)
    disruptor = Disruptor(platform.home, relays, seed, disruptions, (1.0, 6.0))
    disruptor.start()
    choice = random.Random(seed)
    triggers: list[Trigger] = []
    try:
        while len(triggers) < executions or disruptor.is_alive():
            if len(triggers) < executions:
                triggers.append(accepted(platform, choice.choice(cases), f"t{len(triggers)}"))
            pace = threading.Event()
            pace.wait(1.0)
        deadline = time.monotonic() + settling_seconds(executions)
        for trigger in triggers:
            wait_for_end(platform, trigger, deadline)
    finally:
        disruptor.stop.set()
        disruptor.join()
    return Outcome(platform, models, triggers, disruptor.done)


def settling_seconds(executions: int) -> float:
    """Return how long everything may take to come to its end after the last disruption."""
    return 300.0 + 12.0 * executions


def accepted(platform: Platform, case: Case, tag: str) -> Trigger:
    """Ask for an execution until the control plane says that it has it."""
    body = {"workflow_id": case.id, "input": {"tag": tag, "items": ITEMS}}
    deadline = time.monotonic() + ACCEPT_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = platform.http.post("/api/v1/workflows/execute", json=body, headers={"Idempotency-Key": tag})
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        if answer.status_code < 500:
            assert answer.status_code in (200, 202), answer.text
            return Trigger(case, tag, time.monotonic(), str(answer.json()["execution_id"]))
        time.sleep(0.2)
    raise AssertionError(f"{tag}: not accepted within {ACCEPT_SECONDS:.0f} s")


def wait_for_end(platform: Platform, trigger: Trigger, deadline: float) -> None:
    """Wait until an execution has ended, whoever is away meanwhile."""
    while time.monotonic() < deadline:
        try:
            answer = platform.http.get(f"/api/v1/executions/{trigger.execution_id}", params={"wait": "10s"})
        except httpx.HTTPError:
            time.sleep(0.2)
            continue
        trigger.view = answer.json() if answer.status_code == 200 else {}
        if trigger.view.get("status") in ("success", "failed", "cancelled"):
            trigger.ended = time.monotonic()
            return
        if answer.status_code != 200:
            time.sleep(0.2)
    raise AssertionError(f"{trigger.tag} ({trigger.case.id}) is stuck: {trigger.view}")


def check(outcome: Outcome, organization: str = "default") -> None:
    """Check what must be true after chaos.

    :raises AssertionError: Something is not.
    """
    for trigger in outcome.triggers:
        check_execution(outcome, trigger)
    check_accepted_once(outcome)
    check_calls(outcome)
    check_nothing_is_stuck(outcome.platform, organization)


def check_execution(outcome: Outcome, trigger: Trigger) -> None:
    """It succeeded, and each result in its journal follows from the results in its journal."""
    view = trigger.view
    assert view["status"] == "success", (trigger.tag, trigger.case.id, view["error"])
    texts = {step["id"]: (step["output"] or {}).get("text") for step in view["steps"] if step["id"] != "each"}
    for step, before in trigger.case.follows.items():
        expected = "|".join(
            (trigger.tag, trigger.case.names.get(step, step), ",".join(str(texts[name]) for name in before))
        )
        assert outcome.models.prompt_of(texts[step]) == expected, (trigger.tag, step)
    last = view["output"]["last" if "last" in trigger.case.follows else "three"]
    assert last == {"text": texts["last" if "last" in texts else "three"]}, trigger.tag


def check_accepted_once(outcome: Outcome) -> None:
    """Each trigger made one execution, and each call of a workflow one child."""
    rows = query(
        outcome.platform,
        "SELECT input->>'tag', count(*) FROM workflow_executions WHERE input->>'tag' IS NOT NULL GROUP BY 1",
    )
    expected = {trigger.tag for trigger in outcome.triggers}
    expected |= {f"{trigger.tag}/child" for trigger in outcome.triggers if trigger.case.child}
    assert dict(rows) == dict.fromkeys(expected, 1)


def check_calls(outcome: Outcome) -> None:
    """A call was made again only where what made it was killed or frozen.

    A step may be asked once, and once more for each disruption of running tasks in its execution's life.
    """
    asked = Counter("|".join(prompt.split("|")[:2]) for prompt in outcome.models.asked())
    lives = {trigger.tag: trigger for trigger in outcome.triggers}
    for key, count in asked.items():
        life = lives[key.split("|")[0].partition("/")[0]]
        hits = sum(
            1 for each in outcome.disruptions if each.tasks and each.ended >= life.accepted and each.began <= life.ended
        )
        assert count <= 1 + hits, f"{key}: asked {count} times with {hits} disruptions of running tasks"
    hit = sum(each.tasks for each in outcome.disruptions)
    print(f"chaos: {asked.total()} calls for {len(asked)} steps; {hit} running tasks were hit", flush=True)


def check_nothing_is_stuck(platform: Platform, organization: str = "default") -> None:
    """No row, no lease and no run of Airflow waits for anything."""
    assert query(platform, "SELECT id, status FROM workflow_executions WHERE completed_at IS NULL") == []

    def idle() -> bool:
        active = platform.airflow.get(
            "/api/v2/dags/~/dagRuns",
            params={"state": ["queued", "running"], "dag_id_prefix_pattern": f"{organization}__"},
        )
        return (
            active.is_success
            and active.json()["total_entries"] == 0
            and query(platform, "SELECT id FROM outbox") == []
            and query(platform, "SELECT unit FROM leases WHERE owner IS NOT NULL AND expires_at > now()") == []
        )

    platform.until(idle, 120)


def query(platform: Platform, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    connection = psycopg2.connect(platform.cluster.url("agent_factory"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()
    finally:
        connection.close()


def run(*, executions: int, disruptions: int, seed: int, environment: dict[str, str] | None = None) -> None:
    """Run chaos on a platform of its own and check what it leaves.

    :raises AssertionError: Something was lost, doubled or stuck.
    """
    with NumberedModels(delay=0.5) as models, disrupted_platform(models, environment or {}) as (platform, relays):
        began = time.monotonic()
        check(chaos(platform, relays, models, executions=executions, disruptions=disruptions, seed=seed))
        print(f"chaos: nothing lost, nothing doubled, nothing stuck; {time.monotonic() - began:.0f} s", flush=True)


def seed_of_environment() -> int:
    """Return the seed to use: ``CHAOS_SEED``, or one of the clock."""
    return int(os.environ.get("CHAOS_SEED") or time.time_ns() % 1_000_000)
