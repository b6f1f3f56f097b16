"""/runtime/v1/workflows: what the form in Airflow's UI asks for."""

from __future__ import annotations

import asyncio

import pytest

from api.organizations.repository import OrganizationRepository
from tests.api.control_plane import ControlPlane, workflow

pytestmark = pytest.mark.platform

FORM = "/runtime/v1/workflows/default/greet/form"
START = "/runtime/v1/workflows/default/greet/executions"


async def test_only_for_the_runtime_token(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    for client in (control_plane.public, control_plane.api):
        assert (await client.get(FORM)).status_code == 401
        assert (await client.post(START, json={"input": {"name": "Ann"}})).status_code == 401


async def test_form_is_of_the_current_version(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    await control_plane.publish(workflow(name="Newer", description="Says hello."))
    assert (await control_plane.runtime.get(FORM)).json() == {
        "workflow_id": "greet",
        "name": "Newer",
        "description": "Says hello.",
        "version": 2,
        "input_schema": workflow()["input"],
    }


async def test_not_there(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    async with control_plane.database.system() as session:
        await OrganizationRepository(session).ensure("other")
    for place in ("default/nothing", "other/greet", "nobody/greet"):
        assert (await control_plane.runtime.get(f"/runtime/v1/workflows/{place}/form")).status_code == 404
        body = {"input": {"name": "Ann"}}
        response = await control_plane.runtime.post(f"/runtime/v1/workflows/{place}/executions", json=body)
        assert response.status_code == 404


async def test_start(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    response = await control_plane.runtime.post(START, json={"input": {"name": "Ann"}})
    assert response.status_code == 202
    execution = await control_plane.show(response.json()["execution_id"])
    assert response.json()["run_id"] == execution["execution_id"]
    assert response.json()["url"] == execution["url"]
    assert (execution["input"], execution["trigger"]["type"]) == ({"name": "Ann"}, "manual")


async def test_the_same_key_starts_it_once(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    headers = {"Idempotency-Key": "page"}
    body = {"input": {"name": "Ann"}}
    answers = await asyncio.gather(*(control_plane.runtime.post(START, json=body, headers=headers) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200] * 4 + [202]
    assert len({answer.json()["execution_id"] for answer in answers}) == 1
    assert {answer.json()["existing"] for answer in answers if answer.status_code == 200} == {True}
    other = await control_plane.runtime.post(START, json=body, headers={"Idempotency-Key": "other"})
    assert (other.status_code, other.json()["existing"]) == (202, False)
    reused = await control_plane.runtime.post(START, json={"input": {"name": "Bob"}}, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_input_that_breaks_the_schema(control_plane: ControlPlane) -> None:
    await control_plane.publish()
    response = await control_plane.runtime.post(START, json={"input": {"name": 7}})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")
    assert response.json()["errors"] == [{"pointer": "/name", "message": "7 is not of type 'string'"}]
