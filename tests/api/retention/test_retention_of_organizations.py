"""Retention by organisation: bounded by the platform's, and what is older goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from api.settings import Settings
from api.upkeep.retention.organizations import keep_organizations
from api.upkeep.tools import Tools
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import People
from tests.api.webhooks.signing import BODY, JSON, URL, auth_of, github, publish

pytestmark = pytest.mark.platform

PATH = "/api/v1/retention"
DAY = timedelta(days=1)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
def people(control_plane: ControlPlane) -> People:
    return People(control_plane)


@pytest.fixture
def tools(control_plane: ControlPlane) -> Tools:
    state = control_plane.app.state
    return Tools(state.settings, state.database, state.airflow, state.plans)


class TestChange:
    async def test_anonymous_and_below(self, control_plane: ControlPlane, people: People) -> None:
        body = {"executions": 1, "audit_log": 30}
        assert (await control_plane.public.put(PATH, json=body)).status_code == 401
        lead = await people.client("team_lead")
        assert (await lead.put(PATH, json=body)).status_code == 403
        assert (await lead.get(PATH)).json()["executions"] == 90

    async def test_valid(self, people: People) -> None:
        owner = await people.client("organization_owner")
        changed = (await owner.put(PATH, json={"executions": 7, "audit_log": 60})).json()
        expected = {"executions": 7, "longest_executions": 90, "audit_log": 60, "longest_audit_log": 400}
        assert changed == expected == (await owner.get(PATH)).json()
        back = (await owner.put(PATH, json={"executions": None, "audit_log": None})).json()
        assert (back["executions"], back["audit_log"]) == (90, 400)
        other = await people.client("organization_owner", "theirs")
        assert (await other.get(PATH)).json()["executions"] == 90

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"executions": 91, "audit_log": None}, "beyond_platform"),
            ({"executions": None, "audit_log": 401}, "beyond_platform"),
            ({"executions": 0, "audit_log": None}, "invalid_request"),
            ({"executions": None, "audit_log": 29}, "invalid_request"),
            ({"executions": 1}, "invalid_request"),
        ],
    )
    async def test_refused(self, control_plane: ControlPlane, body: dict[str, int], code: str) -> None:
        answer = await control_plane.api.put(PATH, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_executions_go_by_the_days_of_their_organisation(
    control_plane: ControlPlane, people: People, tools: Tools
) -> None:
    """Each of two has one that is old, one that is young, and one that goes on."""
    await people.organization("theirs")
    ids = {}
    for slug in ("default", "theirs"):
        control_plane.act_for(await people.organization(slug))
        await control_plane.publish()
        ids[slug] = [UUID(await control_plane.execute()) for _ in range(3)]
        for execution_id, days in zip(ids[slug][:2], (10, 3), strict=True):
            await people.sql(
                "UPDATE workflow_executions SET status = 'success',"
                " completed_at = now() - make_interval(days => :days) WHERE id = :id",
                id=execution_id, days=days,
            )  # fmt: skip
    control_plane.act_for(await people.organization("default"))
    answer = await control_plane.api.put(PATH, json={"executions": 7, "audit_log": None})
    assert answer.status_code == 200
    counts = await keep_organizations(tools, datetime.now(UTC))
    assert counts["executions_of_organizations"] == 1
    left = await people.sql("SELECT json_agg(CAST(id AS text)) FROM workflow_executions")
    assert set(left) == {str(each) for each in [*ids["default"][1:], *ids["theirs"]]}


async def test_a_signed_message_stays_known_without_its_execution(
    control_plane: ControlPlane, people: People, tools: Tools
) -> None:
    """GitHub's signatures have no time in them, so the same bytes count for as long as they are known."""
    await publish(control_plane, auth_of("github"))

    async def deliver() -> httpx.Response:
        return await control_plane.public.post(URL, content=BODY, headers=JSON | github(BODY, 0))

    execution_id = (await deliver()).json()["execution_id"]
    await people.sql("UPDATE workflow_executions SET status = 'success', completed_at = now() - interval '2 days'")
    assert (await control_plane.api.put(PATH, json={"executions": 1, "audit_log": None})).status_code == 200
    assert (await keep_organizations(tools, datetime.now(UTC)))["executions_of_organizations"] == 1
    for _ in range(2):
        again = await deliver()
        assert (again.status_code, again.json()["code"]) == (409, "execution_removed")
        assert again.json()["execution_id"] == execution_id
    assert await people.sql("SELECT count(*) FROM workflow_executions") == 0
    # With a new key beside the old signature it is still the same message.
    headers = JSON | github(BODY, 0) | {"idempotency-key": "new"}
    assert (await control_plane.public.post(URL, content=BODY, headers=headers)).status_code == 409
    assert await people.sql("SELECT count(*) FROM idempotency_keys") == 1


async def test_entries_of_the_audit_log_go_by_age(control_plane: ControlPlane, people: People, tools: Tools) -> None:
    for slug in ("default", "theirs"):
        organization_id = await people.organization(slug)
        for days in (31, 29, 401):
            await people.sql(
                "INSERT INTO audit_log (organization_id, actor, action, resource, at)"
                " VALUES (:org, 'operator', 'a.b', :days, now() - make_interval(days => :age))",
                org=organization_id, days=str(days), age=days,
            )  # fmt: skip
    assert (await keep_organizations(tools, datetime.now(UTC)))["audit_entries"] == 2
    await control_plane.api.put(PATH, json={"executions": None, "audit_log": 30})
    # A clock that runs ahead has nothing removed that the database finds young.
    assert (await keep_organizations(tools, datetime.now(UTC)))["audit_entries"] == 1
    query = "SELECT json_agg(resource ORDER BY resource) FROM audit_log WHERE action = 'a.b'"
    assert await people.sql(query) == ["29", "29", "31"]
