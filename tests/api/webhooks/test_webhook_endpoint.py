"""/webhook/{organization}/{path}."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from operators.execution.records import StepRecord, WebhookAnswer
from tests.api.control_plane import UNIT, ControlPlane, webhook, workflow

pytestmark = pytest.mark.platform

URL = "/webhook/default/greet"
NAME = {"name": "Ann"}


async def executions(plane: ControlPlane) -> list[Any]:
    async with plane.database.system() as session:
        return list(await session.execute(text("SELECT id, input, trigger FROM workflow_executions")))


@pytest.fixture
def any_input() -> dict[str, Any]:
    """A workflow that takes any input."""
    document = workflow()
    del document["input"]
    return document


class TestAsync:
    async def test_accepted_without_a_token(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.public.post(URL, json=NAME)
        body = response.json()
        assert response.status_code == 202
        assert body["status"] == "pending"
        assert response.headers["location"] == f"/api/v1/executions/{body['execution_id']}"

    async def test_runs_the_newest_version(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        await control_plane.publish(workflow(name="Newer"))
        assert (await control_plane.public.post(URL, json=NAME)).json()["version"] == 2


class TestRoute:
    @pytest.mark.parametrize(
        "path", ["default/other", "nobody/greet", "default/", "default/greet/", "default/%00", "x"]
    )
    async def test_unknown(self, control_plane: ControlPlane, path: str) -> None:
        await control_plane.publish()
        response = await control_plane.public.post(f"/webhook/{path}", json=NAME)
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_other_method(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.public.put(URL, json=NAME)
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"
        assert not await executions(control_plane)

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_each_method(self, control_plane: ControlPlane, any_input: dict[str, Any], method: str) -> None:
        await control_plane.publish(any_input | {"trigger": webhook("deep/er", method=method)})
        response = await control_plane.public.request(method, "/webhook/default/deep/er")
        assert response.status_code == 202


class TestInput:
    async def sent(self, plane: ControlPlane, document: dict[str, Any], **request: Any) -> Any:
        await plane.publish(document)
        response = await plane.public.post(URL, **request)
        assert response.status_code == 202, response.text
        return (await executions(plane))[0].input

    async def test_json(self, control_plane: ControlPlane, any_input: dict[str, Any]) -> None:
        headers = {"content-type": "application/vnd.x+json; charset=utf-8"}
        assert await self.sent(control_plane, any_input, content=b'[1, "\\u0000"]', headers=headers) == [1, "\x00"]

    async def test_form(self, control_plane: ControlPlane, any_input: dict[str, Any]) -> None:
        value = await self.sent(control_plane, any_input, data={"a": ["1", "2"], "b": "", "c": "ü"})
        assert value == {"a": ["1", "2"], "b": "", "c": "ü"}

    async def test_multipart_form(self, control_plane: ControlPlane, any_input: dict[str, Any]) -> None:
        content = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
        headers = {"content-type": "multipart/form-data; boundary=x"}
        assert await self.sent(control_plane, any_input, content=content, headers=headers) == {"a": "1"}

    async def test_empty(self, control_plane: ControlPlane, any_input: dict[str, Any]) -> None:
        assert await self.sent(control_plane, any_input) == {}

    async def test_query_of_a_get(self, control_plane: ControlPlane, any_input: dict[str, Any]) -> None:
        await control_plane.publish(any_input | {"trigger": webhook("greet", method="GET")})
        await control_plane.public.get(f"{URL}?a=1&b=2&b=3")
        assert (await executions(control_plane))[0].input == {"a": "1", "b": ["2", "3"]}

    @pytest.mark.parametrize(
        ("content", "media_type", "status"),
        [
            (b"hello", "text/plain", 415),
            (b"{}", "", 415),
            (b"{", "application/json", 400),
            (b'{"a": 1e999}', "application/json", 400),
            (b'"\\ud800"', "application/json", 400),
            (b'{"a":' * 150 + b"1" + b"}" * 150, "application/json", 400),
            (b"\xff", "application/json", 400),
            (b"a=%ff", "application/x-www-form-urlencoded", 400),
            (b"&".join(b"a=1" for _ in range(1001)), "application/x-www-form-urlencoded", 400),
            (b"--y", "multipart/form-data; boundary=x", 400),
            (b"--y", "multipart/form-data", 400),
            (
                b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n\r\n1\r\n--x--\r\n',
                "multipart/form-data; boundary=x",
                400,
            ),
        ],
    )
    async def test_bad_body_makes_no_execution(
        self, control_plane: ControlPlane, any_input: dict[str, Any], content: bytes, media_type: str, status: int
    ) -> None:
        await control_plane.publish(any_input)
        response = await control_plane.public.post(URL, content=content, headers={"content-type": media_type})
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert not await executions(control_plane)

    async def test_input_that_breaks_the_schema_makes_no_execution(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.public.post(URL, json={"name": 1})
        assert (response.status_code, response.json()["errors"][0]["pointer"]) == (422, "/name")
        assert not await executions(control_plane)

    async def test_announced_too_large(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        response = await control_plane.public.post(URL, content=b" " * 1_000_001)
        assert response.status_code == 413

    async def test_too_large_without_saying_so_is_cut_while_reading(
        self, control_plane: ControlPlane, served_url: str
    ) -> None:
        await control_plane.publish()
        sent = 0

        def chunks() -> Any:
            nonlocal sent
            while True:
                sent += 65536
                yield b" " * 65536

        def call() -> int:
            connection = http.client.HTTPConnection(served_url.removeprefix("http://"), timeout=20)
            try:
                connection.request("POST", URL, chunks(), {"content-type": "application/json"}, encode_chunked=True)
            except OSError:
                return 413  # the server closed the connection in the middle of the endless body
            return connection.getresponse().status

        assert await asyncio.to_thread(call) == 413
        assert sent < 50_000_000


class TestTrigger:
    async def test_has_the_request_without_credentials(
        self, control_plane: ControlPlane, any_input: dict[str, Any]
    ) -> None:
        await control_plane.publish(any_input)
        secrets = {
            "Authorization": "Bearer s3cret",
            "Cookie": "s3cret",
            "X-API-Key": "s3cret",
            "Proxy-Authorization": "s3cret",
            "X-Hub-Signature-256": "s3cret",
            "X-Auth-Token": "s3cret",
            "X-Gitlab-Token": "s3cret",
        }
        await control_plane.public.post(f"{URL}?a=1", json={}, headers=secrets | {"X-Event": "push"})
        trigger = (await executions(control_plane))[0].trigger
        assert (trigger["type"], trigger["method"], trigger["path"]) == ("webhook", "POST", "greet")
        assert trigger["query"] == {"a": "1"}
        assert trigger["headers"]["x-event"] == "push"
        assert "s3cret" not in str(trigger)


SYNC = {"response": {"mode": "sync", "timeout": "20s"}}
Ending = Callable[[str, dict[str, Any]], Awaitable[None]]


class TestSync:
    async def call(self, plane: ControlPlane, ending: Ending, **config: Any) -> httpx.Response:
        """Call a sync webhook, and end its execution while the caller waits."""
        published = await plane.publish(workflow(trigger=webhook("greet", **(SYNC | config))))
        waiting = asyncio.create_task(plane.public.post(URL, json=NAME))
        async with asyncio.timeout(20):
            while not (rows := await executions(plane)):
                await asyncio.sleep(0.01)
            execution_id = str(rows[0].id)
            await ending(execution_id, await plane.lease(execution_id, published["digest"]))
            return await waiting

    def finishing(self, plane: ControlPlane, status: str, **fields: Any) -> Ending:
        async def end(execution_id: str, grant: dict[str, Any]) -> None:
            await plane.call(execution_id, "finish", {"unit": UNIT, "token": grant["token"], "status": status} | fields)

        return end

    def answering(self, plane: ControlPlane, *answers: WebhookAnswer) -> Ending:
        async def end(execution_id: str, grant: dict[str, Any]) -> None:
            for step_id, answer in zip(("hello", "bye"), answers, strict=False):
                record = StepRecord(id=step_id, status="success", answer=answer)
                await plane.journal(execution_id, grant["token"], record)

        return end

    async def test_success(self, control_plane: ControlPlane) -> None:
        response = await self.call(control_plane, self.finishing(control_plane, "success", output={"z": 1, "a": 2}))
        body = response.json()
        assert response.status_code == 200
        assert (body["status"], list(body["output"])) == ("success", ["z", "a"])

    async def test_failure_names_the_execution_but_not_the_reason(self, control_plane: ControlPlane) -> None:
        error = {"code": "model_error", "message": "inner-detail"}
        response = await self.call(control_plane, self.finishing(control_plane, "failed", error=error))
        assert (response.status_code, response.json()["code"]) == (500, "execution_failed")
        assert response.json()["execution_id"]
        assert "inner-detail" not in response.text

    async def test_respond_answers_before_the_end(self, control_plane: ControlPlane) -> None:
        answer = WebhookAnswer(status=201, headers={"X-Kind": "greeting"}, body={"text": "Hello"})
        response = await self.call(control_plane, self.answering(control_plane, answer))
        assert (response.status_code, response.json()) == (201, {"text": "Hello"})
        assert response.headers["x-kind"] == "greeting"
        assert (await control_plane.show(str((await executions(control_plane))[0].id)))["status"] == "running"

    async def test_the_first_respond_wins(self, control_plane: ControlPlane) -> None:
        answers = [WebhookAnswer(body="first"), WebhookAnswer(body="second")]
        published = await control_plane.publish(workflow(trigger=webhook("greet", **SYNC)))
        execution_id = await control_plane.execute()
        grant = await control_plane.lease(execution_id, published["digest"])
        await self.answering(control_plane, *answers)(execution_id, grant)
        async with control_plane.database.system() as session:
            assert (await session.scalar(text("SELECT answer ->> 'body' FROM workflow_executions"))) == "first"

    async def test_headers_cannot_break_the_answer_or_our_origin(self, control_plane: ControlPlane) -> None:
        headers = {
            "X-Split": "a\r\nSet-Cookie: b=1",
            "Set-Cookie": "a=1",
            "Content-Length": "3",
            "Transfer-Encoding": "chunked",
            "Bad Name": "x",
            "X-Smile": "😀",
            "Location": "//evil",
            "X-Good": "é",
            "Content-Type": "text/html",
        }
        answer = WebhookAnswer(headers=headers, body="<script>alert(1)</script>")
        response = await self.call(control_plane, self.answering(control_plane, answer))
        assert response.text == answer.body
        assert {"set-cookie", "x-split", "x-smile", "bad name", "location"}.isdisjoint(response.headers)
        assert response.headers["x-good"]
        assert response.headers["content-security-policy"] == "sandbox"
        assert response.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize(("status", "seen"), [(204, 204), (99, 500), (600, 500)])
    async def test_status(self, control_plane: ControlPlane, status: int, seen: int) -> None:
        answer = WebhookAnswer(status=status, body=None)
        response = await self.call(control_plane, self.answering(control_plane, answer))
        assert response.status_code == seen

    async def test_time_out_is_accepted(self, control_plane: ControlPlane) -> None:
        trigger = webhook("greet", response={"mode": "sync", "timeout": "100ms"})
        await control_plane.publish(workflow(trigger=trigger))
        response = await control_plane.public.post(URL, json=NAME)
        assert (response.status_code, response.json()["status"]) == (202, "pending")
        assert response.headers["location"]

    async def test_many_wait_on_few_connections(self, control_plane: ControlPlane) -> None:
        published = await control_plane.publish(workflow(trigger=webhook("greet", **SYNC)))
        waiting = [asyncio.create_task(control_plane.public.post(URL, json=NAME)) for _ in range(20)]
        async with asyncio.timeout(30):
            while len(rows := await executions(control_plane)) < 20:
                await asyncio.sleep(0.02)
            for row in rows:
                grant = await control_plane.lease(str(row.id), published["digest"])
                await self.finishing(control_plane, "success", output=str(row.id))(str(row.id), grant)
            answers = [(await task).json() for task in waiting]
        assert all(answer["output"] == answer["execution_id"] for answer in answers)
