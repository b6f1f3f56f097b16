"""``/metrics``: who may read it, and what is counted."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import text

from operators.execution.records import StepRecord
from tests.api.control_plane import UNIT, ControlPlane

pytestmark = pytest.mark.platform


async def samples(control_plane: ControlPlane) -> dict[str, float]:
    """Every sample by its name and labels."""
    response = await control_plane.public.get("/metrics")
    assert response.status_code == 200, response.text
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def grown(control_plane: ControlPlane, before: dict[str, float]) -> dict[str, float]:
    """What changed since."""
    now = await samples(control_plane)
    return {name: value - before.get(name, 0) for name, value in now.items() if value != before.get(name, 0)}


class TestWhoMayRead:
    async def test_this_machine(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.get("/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=")

    @pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip"])
    async def test_not_through_a_proxy(self, control_plane: ControlPlane, header: str) -> None:
        response = await control_plane.public.get("/metrics", headers={header: "127.0.0.1"})
        assert response.status_code == 404

    async def test_not_another_machine(self, control_plane: ControlPlane) -> None:
        transport = httpx.ASGITransport(control_plane.app, client=("198.51.100.7", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://factory.test") as client:
            assert (await client.get("/metrics")).status_code == 404

    async def test_not_where_others_can_reach_the_port(self, control_plane: ControlPlane) -> None:
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"api_host": "0.0.0.0"})
        assert (await control_plane.public.get("/metrics")).status_code == 404

    async def test_with_a_token(self, control_plane: ControlPlane) -> None:
        state = control_plane.app.state
        state.settings = state.settings.model_copy(update={"metrics_token": SecretStr("metrics")})
        for headers, status in (({}, 401), ({"authorization": "Bearer api-token"}, 401)):
            assert (await control_plane.public.get("/metrics", headers=headers)).status_code == status
        headers = {"authorization": "Bearer metrics", "x-forwarded-for": "198.51.100.7"}
        assert (await control_plane.public.get("/metrics", headers=headers)).status_code == 200


class TestRequests:
    async def test_counted_by_template(self, control_plane: ControlPlane) -> None:
        before = await samples(control_plane)
        for number in range(3):
            await control_plane.api.get(f"/api/v1/executions/{number}?secret={number}")
        more = await grown(control_plane, before)
        labels = "method=GET,route=/api/v1/executions/{execution_id}"
        assert more[f"http_requests_total{{{labels},status=4xx}}"] == 3
        assert more[f"http_request_duration_seconds_count{{{labels}}}"] == 3

    async def test_strangers_make_no_series(self, control_plane: ControlPlane) -> None:
        await control_plane.public.get("/warm-up")
        await control_plane.public.request("WARMUP", "/warm-up")
        before = await samples(control_plane)
        for number in range(20):
            await control_plane.public.request(f"METHOD{number}", f"/nowhere/{number}")
            await control_plane.public.get(f"/nowhere/{number}")
        now = await samples(control_plane)
        assert {name for name in set(now) - set(before) if "/metrics" not in name} == set()


class TestExecutions:
    async def test_end_and_steps(self, control_plane: ControlPlane) -> None:
        digest = (await control_plane.publish())["digest"]
        execution = await control_plane.execute()
        before = await samples(control_plane)
        token = (await control_plane.lease(execution, digest))["token"]
        records = [
            StepRecord(id="hello", status="success", duration_ms=1500, attempts=1),
            StepRecord(id="bye", status="failed", duration_ms=10, attempts=1),
        ]
        for _ in range(2):  # the second as after a lost answer
            await control_plane.journal(execution, token, *records)
        body = {"unit": UNIT, "token": token, "status": "success", "steps": [], "output": None, "error": None}
        for _ in range(2):
            response = await control_plane.call(execution, "finish", body)
            assert response.status_code == 200, response.text
        more = await grown(control_plane, before)
        assert more["task_success_total"] == more["task_error_total"] == 1
        assert more["task_execution_duration_count"] == 2
        assert more["task_execution_duration_sum"] == pytest.approx(1.51)
        assert more["workflow_executions_total"] == more["workflow_executions_success_total"] == 1
        assert "workflow_executions_failed_total" not in more

    async def test_what_is_rolled_back_is_not_counted(self, control_plane: ControlPlane) -> None:
        from api.metrics.recording import record_end

        before = await samples(control_plane)

        async def fail_after_an_end() -> None:
            async with control_plane.database.system() as session:
                await session.execute(text("SELECT 1"))
                record_end(session, "success")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail_after_an_end()
        assert "workflow_executions_total" not in await grown(control_plane, before)
        async with control_plane.database.system() as session:
            await session.execute(text("SELECT 1"))
            record_end(session, "failed")
        more = await grown(control_plane, before)
        assert (more["workflow_executions_total"], more["workflow_executions_failed_total"]) == (1, 1)


class TestRelay:
    async def test_backlog(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        for _ in range(2):
            await control_plane.execute()
        found = await samples(control_plane)
        assert (found["relay_waiting"], found["relay_dead_letters"], found["relay_state_known"]) == (2, 0, 1)
        assert found["relay_oldest_waiting_seconds"] > 0

    async def test_read_once_in_a_while(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        assert (await samples(control_plane))["relay_waiting"] == 0
        await control_plane.execute()
        assert (await samples(control_plane))["relay_waiting"] == 0

    async def test_database_away(self, control_plane: ControlPlane) -> None:
        await control_plane.database.close()
        state = control_plane.app.state
        real, state.database = (
            state.database,
            type(state.database)(
                state.settings.model_copy(update={"database_url": "postgresql://u:p@127.0.0.1:9/none"})
            ),
        )
        found = await samples(control_plane)
        assert found["relay_state_known"] == 0
        await state.database.close()
        state.database = real
