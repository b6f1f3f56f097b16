"""Airflow away, or a DAG missing: nobody is hammered, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
import statistics

import pytest

from api.relay.outages import FIRST_DELAY_SECONDS, FORGOTTEN_SECONDS, LONGEST_RETRY_AFTER_SECONDS, Outage, backoff
from api.relay.relay import Relay
from api.relay.repository import take_entries
from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.relay.test_limits import airflow, relay_settings, rows  # noqa: F401  fixtures
from tests.api.relay.test_relay import DAG_ID, client, is_empty, outbox, relaying, until
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform


class TestOutage:
    def test_it_grows_to_the_longest_delay_and_ends(self) -> None:
        now = 0.0
        outage = Outage(30.0, clock=lambda: now)
        delays = []
        for _ in range(40):
            outage.begin_or_go_on()
            delays.append(outage.seconds_left)
            now += outage.seconds_left
        assert delays[0] == pytest.approx(FIRST_DELAY_SECONDS, rel=0.2)
        assert delays[-1] == pytest.approx(30.0, rel=0.2)
        assert (outage.lasts, outage.seconds) == (True, pytest.approx(sum(delays)))
        outage.end()
        assert (outage.lasts, outage.seconds, outage.seconds_left) == (False, 0.0, 0.0)

    def test_an_old_one_begins_anew(self) -> None:
        now = 0.0
        outage = Outage(30.0, clock=lambda: now)
        outage.begin_or_go_on()
        now = outage.seconds_left + FORGOTTEN_SECONDS - 1
        outage.begin_or_go_on()
        assert outage.seconds == now
        now += 3600
        outage.begin_or_go_on(5.0)
        assert outage.seconds == 5.0

    def test_tries_that_fail_together_count_once(self) -> None:
        one, eight = (Outage(30.0, clock=lambda: 0.0) for _ in "ab")
        one.begin_or_go_on()
        for _ in range(8):
            eight.begin_or_go_on()
        assert eight.seconds_left == pytest.approx(one.seconds_left, rel=0.5)

    def test_airflow_may_ask_for_longer(self) -> None:
        outage = Outage(30.0, clock=lambda: 0.0)
        outage.begin_or_go_on(at_least=100.0)
        assert outage.seconds_left == 100.0
        outage.begin_or_go_on(at_least=1e9)
        assert outage.seconds_left == LONGEST_RETRY_AFTER_SECONDS

    def test_one_entry_that_fails_is_no_outage(self) -> None:
        outage = Outage(30.0, clock=lambda: 0.0)
        for _ in range(10):
            outage.suspect(1, 0.0)
        assert not outage.lasts
        outage.suspect(2, 0.0)
        outage.suspect(3, 7.0)
        assert (outage.lasts, outage.seconds) == (True, 7.0)

    def test_backoff_has_a_longest_delay(self) -> None:
        assert backoff(1, 2.0) == FIRST_DELAY_SECONDS
        assert backoff(10**9, 2.0) == 2.0


class TestAirflowAway:
    @pytest.mark.parametrize("status", [503, 429, 500])
    async def test_few_requests_for_many_entries(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
        status: int,
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        accepted = {await control_plane.execute() for _ in range(40)}
        airflow.away = status
        async with relaying(control_plane, relay_settings, airflow):
            await until(lambda: airflow.requests >= relay_settings.relay_in_flight + 4)
            alone = airflow.moments[relay_settings.relay_in_flight :]
            airflow.away = None
            await until(is_empty(control_plane))
        # The first wave, then one at a time, each after a delay. One of the wave may have come late.
        pauses = [later - former for former, later in itertools.pairwise(alone)]
        assert statistics.median(pauses) >= 0.75 * FIRST_DELAY_SECONDS
        assert set(airflow.runs[DAG_ID]) == accepted

    async def test_a_wrong_password_buries_nothing(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        accepted = {await control_plane.execute() for _ in range(3)}
        right, airflow.password = airflow.password, "changed"
        once = relay_settings.model_copy(update={"relay_max_refusals": 1})
        async with relaying(control_plane, once, airflow):
            await until(lambda: airflow.refused_logins >= 3)
            assert await rows(control_plane, "SELECT DISTINCT dead, refusals FROM outbox") == [(False, 0)]
            airflow.password = right
            await until(is_empty(control_plane))
        assert set(airflow.runs[DAG_ID]) == accepted

    async def test_left_alone_for_as_long_as_it_asks(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        airflow.away, airflow.headers = 503, {"retry-after": "3600"}
        await control_plane.execute()
        async with relaying(control_plane, relay_settings, airflow):
            await until(lambda: airflow.requests == 1)
            airflow.away = None
            # Each acceptance wakes the relay.
            for _ in range(3):
                await control_plane.execute()
                await asyncio.sleep(0.1)
        assert airflow.requests == 1
        assert await rows(control_plane, "SELECT attempts FROM outbox ORDER BY id") == [(1,), (0,), (0,), (0,)]

    async def test_a_run_that_airflow_always_fails_at_keeps_no_other_waiting(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
        bad = await control_plane.execute()
        airflow.broken.add(bad)
        async with relaying(control_plane, relay_settings, airflow):
            await until(lambda: airflow.posts["broken"] >= 3)
            good = {await control_plane.execute() for _ in range(5)}
            await until(lambda: set(airflow.runs[DAG_ID]) == good)
            airflow.broken.clear()
            await until(is_empty(control_plane))
        assert set(airflow.runs[DAG_ID]) == good | {bad}

    async def test_a_cancel_is_heard_all_the_same(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        airflow.publish(DAG_ID, digest)
        async with relaying(control_plane, relay_settings, airflow):
            first = await control_plane.execute()
            await until(is_empty(control_plane))
            await control_plane.lease(first, digest)
            airflow.away, airflow.headers = 503, {"retry-after": "3600"}
            before = airflow.requests
            await control_plane.execute()
            await until(lambda: airflow.requests > before)
            await control_plane.api.post(f"/api/v1/executions/{first}/cancel")
            await rows(control_plane, "UPDATE leases SET expires_at = now() - interval '1 s'")
            await rows(control_plane, "UPDATE outbox SET available_at = now() WHERE kind = 'stop'")
            await rows(control_plane, "SELECT pg_notify('agent_factory_outbox', '')")
            shown = (await control_plane.api.get(f"/api/v1/executions/{first}?wait=20s")).json()
        assert shown["status"] == "cancelled"


class TestMissingDag:
    async def test_one_wave_looks_for_all(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        digest = (await control_plane.publish())["digest"]
        for _ in range(30):
            await control_plane.execute()
        settings = relay_settings.model_copy(update={"relay_in_flight": 2})
        async with relaying(control_plane, settings, airflow):
            await until(lambda: airflow.dag_reads >= 6)
            tried = [row for row in await outbox(control_plane) if row.attempts]
            airflow.publish(DAG_ID, digest)
            await until(is_empty(control_plane))
        assert len(tried) <= 4
        assert len(airflow.runs[DAG_ID]) == 30

    async def test_who_waited_behind_is_given_up_as_soon(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        await control_plane.publish()
        accepted = [await control_plane.execute() for _ in range(6)]
        await rows(control_plane, "UPDATE outbox SET created_at = now() - interval '1 hour'")
        settings = relay_settings.model_copy(update={"relay_in_flight": 1, "relay_missing_dag_seconds": 2.0})
        async with relaying(control_plane, settings, airflow):
            for execution_id in accepted:
                shown = (await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
                assert shown["error"]["code"] == "not_scheduled"
        # The last were tried once: they had waited long enough.
        attempts = [row.attempts for row in await outbox(control_plane)]
        assert attempts[0] > 1
        assert attempts[-3:] == [1] * 3


async def test_a_late_relay_gives_up_nothing_that_another_one_did(
    control_plane: ControlPlane,
    relay_settings: Settings,  # noqa: F811
    airflow: AirflowStub,  # noqa: F811
) -> None:
    airflow.publish(DAG_ID, (await control_plane.publish())["digest"])
    execution_id = await control_plane.execute()
    async with control_plane.database.system() as session:
        [late] = await take_entries(session, 1, 0.0)
    async with control_plane.database.system() as session:
        [again] = await take_entries(session, 1, 0.0)
    relay = Relay(
        relay_settings, control_plane.database, control_plane.app.state.listener, client(relay_settings, airflow)
    )
    await relay._give_up(late, "too late")
    assert (await control_plane.show(execution_id))["status"] == "pending"
    assert [row.dead for row in await outbox(control_plane)] == [False]
    await relay._give_up(again, "in time")
    assert (await control_plane.show(execution_id))["status"] == "failed"
