"""Dead letters: seen, and delivered again, against a stand-in for Airflow's REST API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.relay.repository import take_entries
from api.settings import Settings
from tests.api.cli.test_remote_commands import own_home, run, server  # noqa: F401  fixtures
from tests.api.control_plane import ControlPlane, workflow
from tests.api.relay.test_limits import airflow, relay_settings, rows  # noqa: F401  fixtures
from tests.api.relay.test_relay import DAG_ID, is_empty, relaying, until
from tests.stubs.airflow_server import AirflowStub

pytestmark = pytest.mark.platform

PATH = "/api/v1/dead-letters"
PUT_OFF = "attempts = 1, available_at = now() + interval '5 minutes'"


async def bury(plane: ControlPlane, settings: Settings, airflow: AirflowStub, count: int = 1) -> list[str]:  # noqa: F811
    """Have Airflow refuse the runs of new executions; return their ids."""
    settings = settings.model_copy(update={"relay_max_refusals": 1})
    airflow.failures = [403] * count
    accepted = [await plane.execute() for _ in range(count)]
    async with relaying(plane, settings, airflow):
        for execution_id in accepted:
            shown = (await plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
            assert shown["error"]["code"] == "not_scheduled"
    return accepted


async def letters(plane: ControlPlane, **query: Any) -> list[dict[str, Any]]:
    response = await plane.api.get(PATH, params=query)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["dead_letters"]
    return found


@pytest.fixture
async def published(control_plane: ControlPlane, airflow: AirflowStub) -> str:  # noqa: F811
    digest = str((await control_plane.publish())["digest"])
    airflow.publish(DAG_ID, digest)
    return digest


@pytest.mark.usefixtures("published")
class TestList:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        assert (await control_plane.public.get(PATH)).status_code == 401

    async def test_pages(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        assert await letters(control_plane) == []
        await control_plane.execute()
        await rows(control_plane, f"UPDATE outbox SET {PUT_OFF}")
        accepted = await bury(control_plane, relay_settings, airflow, 3)
        first = (await control_plane.api.get(PATH, params={"limit": 2})).json()
        second = (await control_plane.api.get(PATH, params={"limit": 2, "before": first["next"]})).json()
        shown = first["dead_letters"] + second["dead_letters"]
        assert [letter["execution_id"] for letter in shown] == accepted[::-1]
        assert second["next"] is None
        assert shown[0] | {"id": 0, "waiting_since": "", "dead_since": ""} == {
            "id": 0,
            "execution_id": accepted[2],
            "workflow_id": "greet",
            "kind": "start",
            "attempts": 1,
            "error": "Airflow answered HTTP 403",
            "waiting_since": "",
            "dead_since": "",
        }
        assert shown[0]["waiting_since"] < shown[0]["dead_since"]
        assert await letters(control_plane, workflow_id="other") == []
        assert len(await letters(control_plane, workflow_id="greet")) == 3


@pytest.mark.usefixtures("published")
class TestRedeliver:
    @pytest.mark.parametrize("letter_id", ["1", "x", "9" * 19, "9" * 30, "-1"])
    async def test_unknown(self, control_plane: ControlPlane, letter_id: str) -> None:
        assert (await control_plane.api.post(f"{PATH}/{letter_id}/redeliver")).status_code == 404

    async def test_it_lives_again_from_the_start(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        [execution_id] = await bury(control_plane, relay_settings, airflow)
        await rows(control_plane, "UPDATE outbox SET created_at = now() - interval '9 days'")
        [letter] = await letters(control_plane)
        answer = await control_plane.api.post(f"{PATH}/{letter['id']}/redeliver")
        assert (answer.status_code, answer.json()) == (200, {"redelivered": 1, "refused": 0})
        shown = await control_plane.show(execution_id)
        assert (shown["status"], shown["error"], shown["completed_at"]) == ("pending", None, None)
        assert await letters(control_plane) == []
        async with control_plane.database.system() as session:
            [entry] = await take_entries(session, 8, 0.001)
        assert (entry.attempts, entry.refusals, entry.age_seconds < 60) == (1, 0, True)
        async with relaying(control_plane, relay_settings, airflow):
            await until(is_empty(control_plane))
        assert list(airflow.runs[DAG_ID]) == [execution_id]
        again = await control_plane.api.post(f"{PATH}/{letter['id']}/redeliver")
        assert again.status_code == 404

    async def test_one_that_went_another_way(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        [execution_id] = await bury(control_plane, relay_settings, airflow)
        await rows(control_plane, "UPDATE workflow_executions SET status = 'running', error = NULL")
        [letter] = await letters(control_plane)
        answer = await control_plane.api.post(f"{PATH}/{letter['id']}/redeliver")
        assert (answer.status_code, answer.json()["code"]) == (409, "execution_went_on")
        assert (await control_plane.show(execution_id))["status"] == "running"
        assert await letters(control_plane) == [letter]

    async def test_one_whose_parent_was_told(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        [execution_id] = await bury(control_plane, relay_settings, airflow)
        await rows(control_plane, "UPDATE workflow_executions SET parent_execution_id = uuidv7()")
        [letter] = await letters(control_plane)
        answer = await control_plane.api.post(f"{PATH}/{letter['id']}/redeliver")
        assert (answer.status_code, answer.json()["code"]) == (409, "parent_was_told")
        assert (await control_plane.show(execution_id))["status"] == "failed"

    async def test_all_of_a_workflow(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        accepted = await bury(control_plane, relay_settings, airflow, 3)
        await rows(
            control_plane, "UPDATE workflow_executions SET status = 'cancelled' WHERE id::text = :id", id=accepted[0]
        )
        unknown = await control_plane.api.post(f"{PATH}/redeliver", json={"workflow_id": "other"})
        assert unknown.status_code == 404
        answer = await control_plane.api.post(f"{PATH}/redeliver", json={"workflow_id": "greet"})
        assert answer.json() == {"redelivered": 2, "refused": 1}
        assert (await control_plane.api.post(f"{PATH}/redeliver")).json() == {"redelivered": 0, "refused": 1}

    async def test_it_fails_again_and_is_told_again(
        self,
        control_plane: ControlPlane,
        relay_settings: Settings,  # noqa: F811
        airflow: AirflowStub,  # noqa: F811
    ) -> None:
        await control_plane.publish(workflow(id="helper", trigger={"type": "manual"}, input={}))
        published = await control_plane.publish(workflow(settings={"error_workflow": "helper"}))
        airflow.publish(DAG_ID, published["digest"])
        airflow.publish("default__helper", published["digest"])
        [execution_id] = await bury(control_plane, relay_settings, airflow)
        first = (await control_plane.show(execution_id))["error_workflow"]["execution_id"]
        await control_plane.api.post(f"{PATH}/redeliver")
        assert (await control_plane.show(execution_id))["error_workflow"] is None
        await rows(control_plane, f"UPDATE outbox SET {PUT_OFF} WHERE execution_id::text = :id", id=first)
        airflow.failures = [403]
        settings = relay_settings.model_copy(update={"relay_max_refusals": 1})
        async with relaying(control_plane, settings, airflow):
            shown = (await control_plane.api.get(f"/api/v1/executions/{execution_id}?wait=20s")).json()
        assert shown["error_workflow"]["execution_id"] not in (None, first)


@pytest.mark.usefixtures("published", "server")
async def test_commands(
    control_plane: ControlPlane,
    relay_settings: Settings,  # noqa: F811
    airflow: AirflowStub,  # noqa: F811
) -> None:
    empty = await run("dead-letters", "list")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "No dead letters.\n")
    first, second = await bury(control_plane, relay_settings, airflow, 2)
    lines = (await run("dead-letters", "list")).stdout.splitlines()
    assert [line.split()[4] for line in lines] == [second, first]
    assert lines[0].endswith("1 attempts: Airflow answered HTTP 403")
    listed = json.loads((await run("dead-letters", "list", "--format", "json")).stdout)["dead_letters"]
    assert await letters(control_plane) == listed
    for wrong in ([], ["1", "--all"], ["1", "--workflow", "greet"]):
        assert (await run("dead-letters", "redeliver", *wrong)).exit_code == 2
    one = await run("dead-letters", "redeliver", str(listed[0]["id"]))
    assert (one.exit_code, json.loads(one.stdout)) == (0, {"redelivered": 1, "refused": 0})
    assert (await run("dead-letters", "redeliver", str(listed[0]["id"]))).exit_code == 1
    rest = await run("dead-letters", "redeliver", "--all", "--workflow", "greet")
    assert json.loads(rest.stdout) == {"redelivered": 1, "refused": 0}
