"""/api/v1/variables, and what executions see of variables."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from api.encryption import UnsealError
from api.organizations.repository import OrganizationRepository
from api.settings import Settings
from api.variables.secrets import SecretStore
from compiler import compile_workflow
from compiler.expressions import EvaluationError, render
from operators.execution.records import LeaseGrant
from operators.execution.scope import scope_of
from tests.api.control_plane import WORKFLOW_ID, ControlPlane, workflow

pytestmark = pytest.mark.platform

VARIABLES = "/api/v1/variables"
SECRET = "s3cr3t-value-of-a-token"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


async def put(plane: ControlPlane, name: str, value: Any, environment: str = "default", **more: Any) -> httpx.Response:
    body = {"value": value} | more
    return await plane.api.put(f"{VARIABLES}/{name}", params={"environment": environment}, json=body)


async def grant_of(plane: ControlPlane, environment: str = "default") -> dict[str, Any]:
    """Start an execution that lists three variables, and take its first lease."""
    digest = (await plane.publish(workflow(vars=["region", "token", "unset"])))["digest"]
    body = {"workflow_id": WORKFLOW_ID, "input": {"name": "Ann"}, "environment": environment}
    response = await plane.api.post("/api/v1/workflows/execute", json=body)
    assert response.status_code == 202, response.text
    return await plane.lease(response.json()["execution_id"], digest)


class TestSet:
    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_anonymous(self, control_plane: ControlPlane, method: str) -> None:
        assert (await control_plane.public.request(method, f"{VARIABLES}/region")).status_code == 401

    async def test_new_then_changed_then_removed(self, control_plane: ControlPlane) -> None:
        assert (await put(control_plane, "region", {"b": 1, "a": ["\u0000", None]})).status_code == 201
        response = await put(control_plane, "region", {"z": 1, "a": 2})
        assert response.status_code == 200
        shown = (await control_plane.api.get(f"{VARIABLES}/region")).json()
        assert shown == response.json()
        assert (shown["value"], shown["secret"], shown["environment"]) == ({"z": 1, "a": 2}, False, "default")
        assert (await control_plane.api.delete(f"{VARIABLES}/region")).status_code == 204
        for again in ("GET", "DELETE"):
            response = await control_plane.api.request(again, f"{VARIABLES}/region")
            assert (response.status_code, response.json()["code"]) == (404, "not_found")

    @pytest.mark.parametrize("name", ["Region", "a-b", "1", "a" * 64, "%00", "a%00"])
    async def test_name(self, control_plane: ControlPlane, name: str) -> None:
        assert (await put(control_plane, name, 1)).status_code == 422

    @pytest.mark.parametrize(
        "body", [{}, {"value": 1, "name": "x"}, {"value": 1, "secret": True}, {"value": "", "secret": True},
                 {"value": 1, "organization_id": "x"}, {"value": "x" * 20_000}]
    )  # fmt: skip
    async def test_wrong_bodies(self, control_plane: ControlPlane, body: dict[str, Any]) -> None:
        response = await control_plane.api.put(f"{VARIABLES}/region", json=body)
        assert response.status_code == 422
        assert (await control_plane.api.get(VARIABLES)).json() == {"variables": []}

    async def test_environments_are_apart(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "region", "eu")
        await put(control_plane, "region", "us", "staging")
        listed = (await control_plane.api.get(VARIABLES)).json()["variables"]
        assert [(each["environment"], each["value"]) for each in listed] == [("default", "eu"), ("staging", "us")]
        (only,) = (await control_plane.api.get(VARIABLES, params={"environment": "staging"})).json()["variables"]
        assert only["value"] == "us"

    async def test_another_organisation_has_its_own(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "region", "eu")
        async with control_plane.database.system() as session:
            control_plane.act_for(await OrganizationRepository(session).ensure("other"))
        assert (await control_plane.api.get(VARIABLES)).json() == {"variables": []}
        assert (await control_plane.api.get(f"{VARIABLES}/region")).status_code == 404
        assert (await control_plane.api.delete(f"{VARIABLES}/region")).status_code == 404
        assert (await put(control_plane, "region", "theirs")).status_code == 201


class TestSecret:
    async def test_never_shown_nor_stored_as_it_is(
        self, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        answers = [await put(control_plane, "token", SECRET, secret=True)]
        answers += [await control_plane.api.get(path) for path in (VARIABLES, f"{VARIABLES}/token")]
        answers += [await put(control_plane, "token", SECRET, secret="perhaps")]
        answers += [await put(control_plane, "token", [SECRET], secret=True)]
        assert [answer.status_code for answer in answers] == [201, 200, 200, 422, 422]
        async with control_plane.database.system() as session:
            stored = (await session.execute(text("SELECT CAST(v AS text), sealed FROM variables v"))).one()
        for place in (*(answer.text for answer in answers), repr(stored), bytes(stored.sealed).decode("latin1")):
            assert SECRET not in place
        # asyncpg and httpx log no values either.
        assert SECRET not in caplog.text

    async def test_a_secret_does_not_become_readable_by_the_way(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "token", SECRET, secret=True)
        response = await put(control_plane, "token", "new")
        assert (response.status_code, response.json()["code"]) == (409, "is_secret")
        assert (await put(control_plane, "token", "new", secret=True)).status_code == 200

    async def test_without_a_key(self, control_plane: ControlPlane) -> None:
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"secret_key": None})
        response = await put(control_plane, "token", SECRET, secret=True)
        assert (response.status_code, response.json()["code"]) == (409, "not_possible_here")
        assert SECRET not in response.text

    async def test_read_by_the_credential_path_and_bound_to_its_place(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "token", SECRET, secret=True)
        await put(control_plane, "region", "eu")
        state = control_plane.app.state
        async with control_plane.database.system() as session:
            store = SecretStore(session, state.settings)
            value = await store.read(state.organization_id, "token")
            assert value is not None
            assert value.get_secret_value() == SECRET
            assert SECRET not in repr(value)
            assert await store.read(state.organization_id, "region") is None
            assert await store.read(state.organization_id, "token", "staging") is None
            other = await OrganizationRepository(session).ensure("other")
            assert await store.read(other, "token") is None
            for change in (
                "INSERT INTO variables SELECT organization_id, 'token2', NULL, now(), environment, secret, sealed"
                " FROM variables WHERE name = 'token'",
                "INSERT INTO variables SELECT :other, name, NULL, now(), environment, secret, sealed"
                " FROM variables WHERE name = 'token'",
                "INSERT INTO variables SELECT organization_id, name, NULL, now(), 'staging', secret, sealed"
                " FROM variables WHERE name = 'token' AND organization_id <> :other",
            ):
                await session.execute(text(change), {"other": other} if ":other" in change else {})
            moved = [(state.organization_id, "token2", "default"), (other, "token", "default")]
            for organization_id, name, environment in [*moved, (state.organization_id, "token", "staging")]:
                with pytest.raises(UnsealError):
                    await store.read(organization_id, name, environment)


class TestExecutionsReadThem:
    async def test_the_snapshot_is_of_the_executions_environment(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "region", "eu")
        await put(control_plane, "region", "us", "staging")
        assert (await grant_of(control_plane))["vars"] == {"region": "eu"}
        assert (await grant_of(control_plane, "staging"))["vars"] == {"region": "us"}
        assert (await grant_of(control_plane, "nowhere"))["vars"] == {}

    async def test_a_secret_is_not_in_the_snapshot_and_its_reader_is_told(self, control_plane: ControlPlane) -> None:
        await put(control_plane, "region", "eu")
        await put(control_plane, "token", SECRET, secret=True)
        grant = await grant_of(control_plane)
        assert SECRET not in repr(grant)
        assert (grant["vars"], grant["secret_vars"]) == ({"region": "eu"}, ["token"])
        async with control_plane.database.system() as session:
            rows = await session.scalars(text("SELECT CAST(e AS text) FROM workflow_executions e"))
            assert not [row for row in rows if SECRET in row]
        plan = compile_workflow(
            b'{"id": "a", "name": "A", "version": "1", "vars": ["token"], "trigger": {"type": "manual", "config": {}},'
            b' "tasks": [{"id": "b", "type": "transform", "config": {"set": {"c": "{{ vars.token }}"}}}]}',
            organization="default",
        ).plan
        assert plan is not None
        scope = scope_of(plan, LeaseGrant.model_validate(grant))
        assert render("{{ vars.region }}", scope) == "eu"
        for expression in ("{{ vars.token }}", "{{ vars['token'] | default('x') }}", "{{ vars.token is defined }}"):
            with pytest.raises(EvaluationError, match="'token' is a secret variable, which expressions may not read"):
                render(expression, scope)
        assert render("{{ vars }}", scope) == {"region": "eu"}

    async def test_a_wrong_environment_is_refused(self, control_plane: ControlPlane) -> None:
        body = {"workflow_id": WORKFLOW_ID, "environment": "No Such"}
        assert (await control_plane.api.post("/api/v1/workflows/execute", json=body)).status_code == 422
