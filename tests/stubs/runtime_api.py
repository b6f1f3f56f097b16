"""The runtime API around an in-memory store: what operators talk to, without the control plane."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from operators.execution.memory import InMemoryStore
from operators.execution.records import (
    ApprovalAnswer,
    ApprovalRequest,
    ChildRequest,
    Emission,
    Finish,
    Journaling,
    LeaseRequest,
    News,
    Record,
    Settling,
)
from operators.execution.store import ExecutionEndedError, LeaseHeldError, RejectedError, StaleLeaseError

TOKEN = "runtime-token"
WATCH_SECONDS = 0.5
"""How long a watch is held open at most: a test ends sooner than the callers expect."""


class RuntimeApi:
    """The application; ``failures`` are statuses to answer the next calls with, ``refuses`` a code of 409 for all,
    ``calls`` what was asked, ``ahead`` is by how much its clock is ahead of this machine's, ``artifacts`` are files by
    digest."""

    def __init__(self, store: InMemoryStore) -> None:
        self.store = store
        self.failures: list[int] = []
        self.refuses: str | None = None
        self.ahead = timedelta()
        self.artifacts: dict[str, bytes] = {}
        self.calls: list[tuple[str, Any]] = []
        execution = "/runtime/v1/executions/{execution_id}"
        self.app = Starlette(
            routes=[
                Route("/runtime/v1/artifacts", self._files, methods=["POST"]),
                Route(f"{execution}/lease", self._route(LeaseRequest, store.lease), methods=["POST"]),
                Route(f"{execution}/heartbeat", self._route(Settling, self._heartbeat), methods=["POST"]),
                Route(f"{execution}/steps", self._route(Journaling, store.journal), methods=["POST"]),
                Route(f"{execution}/settle", self._route(Settling, store.settle), methods=["POST"]),
                Route(f"{execution}/finish", self._route(Finish, store.finish), methods=["POST"]),
                Route(f"{execution}/watch", self._watch),
                Route(f"{execution}/approvals/{{step}}", self._of_step(ApprovalRequest, "ask"), methods=["PUT"]),
                Route(
                    f"{execution}/approvals/{{step}}/decision",
                    self._of_step(ApprovalAnswer, "answer"),
                    methods=["POST"],
                ),
                Route(f"{execution}/children", self._route(ChildRequest, store.start_child), methods=["POST"]),
                Route(f"{execution}/children/{{child}}", self._cancel_child, methods=["DELETE"]),
                Route(f"{execution}/events", self._route(Emission, store.emit_event), methods=["POST"]),
                Route(f"{execution}/credentials/models/{{provider}}", self._credential),
                Route(f"{execution}/credentials/redactions", self._redactions),
            ]
        )

    async def _heartbeat(self, execution_id: str, body: Settling) -> Record:
        return await self.store.heartbeat(execution_id, body.unit, body.token)

    def _route(
        self, model: type[Any], call: Callable[[str, Any], Awaitable[Record]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            body = model.model_validate_json(await request.body())
            return await self._answer(request, body, call)

        return endpoint

    def _of_step(self, model: type[Any], action: str) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            body = model.model_validate_json(await request.body())

            async def call(execution_id: str, _: Any) -> Record:
                step_id = request.path_params["step"]
                if action == "ask":
                    return await self.store.ask_approval(execution_id, step_id, body)
                return await self.store.answer_approval(execution_id, step_id, body)

            return await self._answer(request, body, call)

        return endpoint

    async def _files(self, request: Request) -> Response:
        contents = [self.artifacts[digest] for digest in json.loads(await request.body())["sha256"]]
        return Response(b"".join(len(content).to_bytes(4, "big") + content for content in contents))

    async def _credential(self, request: Request) -> Response:
        async def call(execution_id: str, _: Any) -> Record:
            return await self.store.model_credential(execution_id, request.path_params["provider"])

        return await self._answer(request, None, call)

    async def _redactions(self, request: Request) -> Response:
        async def call(execution_id: str, _: Any) -> Record:
            return await self.store.redactions(execution_id)

        return await self._answer(request, None, call)

    async def _cancel_child(self, request: Request) -> Response:
        async def call(execution_id: str, _: Any) -> Record:
            await self.store.cancel_child(execution_id, request.path_params["child"])
            return News()

        return await self._answer(request, None, call)

    async def _watch(self, request: Request) -> Response:
        async def call(execution_id: str, _: Any) -> Record:
            watch = self.store.watch(execution_id, request.query_params.getlist("awaited"))
            seconds = min(WATCH_SECONDS, float(request.query_params["wait"].removesuffix("s")))
            try:
                news = await asyncio.wait_for(watch, seconds)
            except TimeoutError:
                news = News()
            return news.model_copy(update={"now": datetime.now(UTC) + self.ahead})

        return await self._answer(request, None, call)

    async def _answer(self, request: Request, body: Any, call: Callable[[str, Any], Awaitable[Record]]) -> Response:
        self.calls.append((request.url.path.rsplit("/", 1)[1], body))
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _problem(401, "unauthorized")
        if self.failures:
            return _problem(self.failures.pop(0), "stubbed")
        if self.refuses is not None:
            return _problem(409, self.refuses)
        try:
            answer = await call(request.path_params["execution_id"], body)
        except LeaseHeldError as error:
            return _problem(409, "lease_held", retry_after=error.retry_after)
        except StaleLeaseError:
            return _problem(409, "stale_lease")
        except ExecutionEndedError as error:
            return _problem(410, "execution_ended", execution_status=error.status)
        except RejectedError:
            return _problem(404, "not_found")
        return Response(answer.model_dump_json(), media_type="application/json")


def _problem(status: int, code: str, **members: Any) -> Response:
    document = {"type": "about:blank", "status": status, "code": code, "detail": "tenant text", **members}
    return Response(json.dumps(document), status, media_type="application/problem+json")
