"""The part of the runtime API that the form in Airflow's UI calls, for one workflow."""

from __future__ import annotations

import json
import threading
from typing import Any

import uvicorn
from jsonschema import Draft202012Validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from compiler.diagnostics import pointer

TOKEN = "runtime-token"
EXECUTION_ID = "0199a000-0000-7000-8000-000000000001"


class FormApi:
    """The server; ``inputs`` are those it accepted, one a key; ``failure`` is a status to answer every call with,
    ``refusal`` one to refuse every input with."""

    def __init__(self, organization: str, workflow_id: str) -> None:
        self.form: dict[str, Any] = {
            "workflow_id": workflow_id, "name": "Greeter", "description": None, "version": 3, "input_schema": None,
        }  # fmt: skip
        self.inputs: list[Any] = []
        self.keys: list[str] = []
        self.calls = 0
        self.failure: int | None = None
        self.refusal: int | None = None
        base = f"/runtime/v1/workflows/{organization}/{workflow_id}"
        app = Starlette(
            routes=[
                Route(f"{base}/form", self._get_form),
                Route(f"{base}/executions", self._start, methods=["POST"]),
            ],
            exception_handlers={404: lambda request, error: _problem(404, "not_found")},
        )
        self._server = uvicorn.Server(
            uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off")
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def __enter__(self) -> FormApi:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def _refusal(self, request: Request) -> Response | None:
        self.calls += 1
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return _problem(401, "unauthorized")
        return _problem(self.failure, "stubbed") if self.failure else None

    async def _get_form(self, request: Request) -> Response:
        return self._refusal(request) or JSONResponse(self.form)

    async def _start(self, request: Request) -> Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        value = json.loads(await request.body())["input"]
        errors = [
            {"pointer": pointer(error.absolute_path), "message": error.message}
            for error in Draft202012Validator(self.form["input_schema"] or {}).iter_errors(value)
        ]
        if errors or self.refusal:
            return _problem(self.refusal or 422, "invalid_input", detail="The input does not fit.", errors=errors)
        key = request.headers["idempotency-key"]
        existing = key in self.keys
        if not existing:
            self.keys.append(key)
            self.inputs.append(value)
        url = f"http://factory.test/api/v1/executions/{EXECUTION_ID}"
        body = {"execution_id": EXECUTION_ID, "run_id": EXECUTION_ID, "url": url, "existing": existing}
        return JSONResponse(body, 200 if existing else 202)


def _problem(status: int, code: str, **members: Any) -> Response:
    document = {"type": "about:blank", "status": status, "code": code, **members}
    return Response(json.dumps(document), status, media_type="application/problem+json")
