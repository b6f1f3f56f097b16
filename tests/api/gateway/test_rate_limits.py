"""Rate limits: who is counted, where, and that nobody gets around them."""

from __future__ import annotations

import httpx
import pytest

from api.gateway.counting import Counter, ProcessStorage
from api.gateway.rates import TABLE, parse_rates
from api.metrics.registry import RATE_LIMIT_ERRORS, REGISTRY
from api.settings import Settings
from tests.api.control_plane import WORKFLOW_ID, ControlPlane

pytestmark = pytest.mark.platform

# By the day: no test may run into the next window.
RATES = "default=3/day, execute=2/day, webhook=2/day, agents=5/day"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"rate_limits": RATES})


async def statuses(client: httpx.AsyncClient, *urls: str) -> list[int]:
    return [(await client.get(url)).status_code for url in urls]


class TestTable:
    def test_the_seeds_rates(self) -> None:
        amounts = {row.name: row.item.amount for row in TABLE if row.item is not None}
        assert amounts == {"agents": 100, "execute": 50, "integrations": 200, "webhook": 600, "default": 60}
        assert {row.item.get_expiry() for row in TABLE if row.item is not None} == {60}

    @pytest.mark.parametrize(
        ("template", "name"),
        [
            ("/api/v1/agents", "agents"),
            ("/api/v1/agents/{agent_id}", "agents"),
            ("/api/v1/agentsandmore", "default"),
            ("/api/v1/workflows/execute", "execute"),
            ("/api/v1/executions/{execution_id}", "default"),
            ("/webhook/{organization}/{path:path}", "webhook"),
        ],
    )
    def test_row_of_a_route(self, template: str, name: str) -> None:
        assert parse_rates("").of(template).name == name

    @pytest.mark.parametrize("text", ["nothing=1/minute", "execute", "execute=many", "execute=0/minute", "=", "on"])
    def test_wrong_setting(self, text: str) -> None:
        with pytest.raises(ValueError, match="must"):
            parse_rates(text)

    def test_off(self) -> None:
        assert parse_rates("off").of("/api/v1/agents").item is None
        assert parse_rates("agents=off").of("/api/v1/agents").item is None


class TestCaller:
    async def test_told_in_every_answer(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.get("/api/v1/approvals")
        assert response.headers["ratelimit-policy"] == '"default";q=3;w=86400'
        name, remaining, reset = response.headers["ratelimit"].split(";")
        assert (name, remaining) == ('"default"', "r=2")
        assert 1 <= int(reset.removeprefix("t=")) <= 86400

    async def test_refused_when_used_up(self, control_plane: ControlPlane) -> None:
        assert await statuses(control_plane.api, *["/api/v1/approvals"] * 3) == [200] * 3
        response = await control_plane.api.get("/api/v1/approvals")
        assert (response.status_code, response.json()["code"]) == (429, "rate_limited")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["ratelimit"].startswith('"default";r=0;t=')
        assert response.headers["ratelimit"].endswith(f"t={response.headers['retry-after']}")

    async def test_each_endpoint_for_itself(self, control_plane: ControlPlane) -> None:
        await statuses(control_plane.api, *["/api/v1/approvals"] * 4)
        assert await statuses(control_plane.api, "/api/v1/dead-letters") == [200]

    async def test_names_in_the_path_are_one_endpoint(self, control_plane: ControlPlane) -> None:
        urls = [f"/api/v1/executions/01990000-0000-7000-8000-00000000000{number}" for number in range(4)]
        assert await statuses(control_plane.api, *urls) == [404, 404, 404, 429]

    async def test_a_refused_start_starts_nothing(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        body = {"workflow_id": WORKFLOW_ID, "input": {"name": "Ann"}}
        answers = [await control_plane.api.post("/api/v1/workflows/execute", json=body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert (await control_plane.api.get("/api/v1/relay")).json()["waiting"] == 2

    @pytest.mark.parametrize(
        "around", ["/API/v1/approvals", "/api/v1/approvals/", "//api/v1/approvals", "/api/v1/./approvals"]
    )
    async def test_another_writing_is_no_route(self, control_plane: ControlPlane, around: str) -> None:
        await statuses(control_plane.api, *["/api/v1/approvals"] * 3)
        url = httpx.URL("http://factory.test").copy_with(raw_path=around.encode())
        assert (await control_plane.api.get(url)).status_code in (404, 429)

    @pytest.mark.parametrize("around", ["/api/v1/%61pprovals", "/%61pi/v1/approvals", "/api/v1/approvals?a=1"])
    async def test_an_escaped_one_is_the_same(self, control_plane: ControlPlane, around: str) -> None:
        await statuses(control_plane.api, *["/api/v1/approvals"] * 3)
        url = httpx.URL("http://factory.test").copy_with(raw_path=around.encode())
        assert (await control_plane.api.get(url)).status_code == 429

    async def test_no_header_makes_another_caller(self, control_plane: ControlPlane) -> None:
        await statuses(control_plane.api, *["/api/v1/approvals"] * 3)
        for name in ("x-forwarded-for", "x-real-ip", "forwarded", "x-request-id", "user-agent"):
            response = await control_plane.api.get("/api/v1/approvals", headers={name: "198.51.100.7"})
            assert response.status_code == 429


class TestStranger:
    async def test_made_up_tokens_are_counted_for_their_address(self, control_plane: ControlPlane) -> None:
        async def ask(token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            return (await control_plane.public.get("/api/v1/approvals", headers=headers)).status_code

        assert [await ask(f"made-up-{number}") for number in range(4)] == [401, 401, 401, 429]
        assert await ask("api-token") == 200

    async def test_public_routes(self, control_plane: ControlPlane) -> None:
        async def public() -> dict[str, str]:
            return {}

        control_plane.app.add_api_route("/api/v1/public", public)
        assert await statuses(control_plane.public, *["/api/v1/public"] * 4) == [200, 200, 200, 429]

    async def test_workers_and_probes_are_not_counted(self, control_plane: ControlPlane) -> None:
        assert await statuses(control_plane.runtime, *["/runtime/v1/release"] * 5) == [200] * 5
        for url in ("/health", "/ready"):
            assert await statuses(control_plane.public, *[url] * 5) == [200] * 5


class TestWebhook:
    async def test_each_webhook_for_itself(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        hook = "/webhook/default/greet"
        answers = [await control_plane.public.post(hook, json={"name": "Ann"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202, 202, 429]
        assert answers[0].headers["ratelimit-policy"] == '"webhook";q=2;w=86400'

    async def test_those_that_are_not_there(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        answers = [await control_plane.public.post(f"/webhook/default/none{number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert (await control_plane.public.post("/webhook/default/greet", json={"name": "Ann"})).status_code == 202


class TestRedisAway:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return Settings.model_validate(settings.model_dump() | {"redis_url": "redis://:planted@127.0.0.1:9/0"})

    async def test_each_process_counts_alone(
        self, control_plane: ControlPlane, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = REGISTRY.get_sample_value("rate_limit_store_errors_total") or 0
        assert await statuses(control_plane.api, *["/api/v1/approvals"] * 4) == [200, 200, 200, 429]
        assert (REGISTRY.get_sample_value("rate_limit_store_errors_total") or 0) == before + 1
        told = [record.getMessage() for record in caplog.records if "Redis is away" in record.getMessage()]
        assert len(told) == 1
        assert "planted" not in told[0]
        assert RATE_LIMIT_ERRORS is not None


class TestStorage:
    async def test_bounded(self) -> None:
        storage = ProcessStorage(most_keys=100)
        for number in range(1000):
            await storage.incr(str(number), 60)
        assert await storage.get("999") == 1
        assert await storage.reset() <= 100

    async def test_counts_anew_when_it_is_over(self) -> None:
        storage = ProcessStorage()
        assert [await storage.incr("key", 60) for _ in range(3)] == [1, 2, 3]
        assert [await storage.incr("over", 0) for _ in range(2)] == [1, 1]

    async def test_processes_count_together(self, redis_url: str) -> None:
        from limits import parse
        from pydantic import SecretStr

        first, second = Counter(SecretStr(redis_url)), Counter(SecretStr(redis_url))
        rate = parse("3/day")
        counts = [await counter.hit(rate, "somebody") for counter in (first, second, first, second)]
        assert [count.allowed for count in counts] == [True, True, True, False]
        assert [count.remaining for count in counts] == [2, 1, 0, 0]
        await first.close()
        await second.close()
