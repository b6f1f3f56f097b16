"""The execution store behind the control plane's runtime API."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import ValidationError

from operators.execution.records import (
    AnswerReceipt,
    ApprovalAnswer,
    ApprovalRequest,
    ApprovalState,
    ChildRequest,
    ChildState,
    Emission,
    EmittedEvent,
    ExecutionState,
    Finish,
    Journaling,
    LeaseGrant,
    LeaseRequest,
    ModelCredential,
    News,
    PodSettings,
    Record,
    Redactions,
    Settling,
    StoredOutput,
)
from operators.execution.store import (
    DepthExceededError,
    ExecutionEndedError,
    LeaseHeldError,
    NotBegunError,
    OutputRefusedError,
    RejectedError,
    StaleLeaseError,
    StoreError,
)
from operators.settings import RuntimeSettings
from operators.tls import own_context

Answer = TypeVar("Answer", bound=Record)

TIMEOUT = httpx.Timeout(30.0, connect=3.0)
WATCH_SECONDS = 20.0
"""How long one watch is held open; shorter than the time-out, and than what proxies allow."""
QUICK_RETRIES = (0.05, 0.2)
"""Waits before the second and third try, in seconds. They bridge a dropped connection; a control plane that is away
for longer is the runner's to wait for."""
WITHOUT_STORE_BYTES = 10_000_000
"""An output of this size goes into the journal where there is no object store."""
REFUSALS = {
    "no_object_store": f"an output must have at most {WITHOUT_STORE_BYTES:,} bytes of JSON where the platform has no "
    "object store; got {size:,}. Pass on less, or have AGENT_FACTORY_OBJECT_BUCKET or AGENT_FACTORY_OBJECT_FOLDER set",
    "too_large": "an output must be one that the platform takes, see AGENT_FACTORY_RESULT_MAX_BYTES; got {size:,} "
    "bytes of JSON. Pass on less",
    "outputs_quota": "the large outputs of an execution must fit into what the platform keeps of one, see "
    "AGENT_FACTORY_EXECUTION_OUTPUTS_MAX_BYTES; this one of {size:,} bytes does not. Pass on less",
}
AWAY = frozenset({502, 503, 504})


class HttpStore:
    """Implements ``ExecutionStore`` over HTTP. Use it as an asynchronous context manager, in one event loop.

    Every call is idempotent, so each is tried again where no answer came or a proxy answered for the API.

    :param settings: Where the API is, and the token.
    :param transport: Replaces the network in tests.
    """

    def __init__(self, settings: RuntimeSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=f"{settings.api_url}/runtime/v1",
            headers={"Authorization": f"Bearer {settings.token}"},
            timeout=TIMEOUT,
            transport=transport,
            # Proxies of the environment are for the outside world; the control plane is ours.
            trust_env=False,
            verify=own_context(),
        )
        self._ids: dict[str, str] = {}

    async def __aenter__(self) -> HttpStore:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def execution_id(self, run_id: str) -> str:
        """Return the id of a run's execution; the run's own id before its lease."""
        return self._ids.get(run_id, run_id)

    async def lease(self, execution_id: str, request: LeaseRequest) -> LeaseGrant:
        """Take or renew the lease of a unit; see ``ExecutionStore``.

        From then on an execution that was asked for by the id of Airflow's run is called by its own id.
        """
        grant = await self._post(execution_id, "lease", request, LeaseGrant, unit=request.unit)
        self._ids[execution_id] = grant.execution.id
        return grant

    async def heartbeat(self, execution_id: str, unit: str, token: int) -> ExecutionState:
        """Extend a lease; see ``ExecutionStore``."""
        body = Settling(unit=unit, token=token)
        return await self._post(execution_id, "heartbeat", body, ExecutionState, unit=unit)

    async def journal(self, execution_id: str, entry: Journaling) -> ExecutionState:
        """Store step results; see ``ExecutionStore``."""
        return await self._post(execution_id, "steps", entry, ExecutionState, unit=entry.unit)

    async def settle(self, execution_id: str, entry: Settling) -> ExecutionState:
        """Give a lease back; see ``ExecutionStore``."""
        return await self._post(execution_id, "settle", entry, ExecutionState, unit=entry.unit)

    async def finish(self, execution_id: str, entry: Finish) -> ExecutionState:
        """End an execution; see ``ExecutionStore``."""
        return await self._post(execution_id, "finish", entry, ExecutionState, unit=entry.unit)

    async def keep_output(self, execution_id: str, stored: StoredOutput, data: bytes) -> bool:
        """Keep an output outside of the journal; see ``ExecutionStore``."""
        path = f"{self._path(execution_id)}/outputs/{stored.sha256}"
        response = await self._request("PUT", path, content=data, media_type="application/octet-stream")
        if response.is_success:
            return True
        code = _problem(response).get("code")
        if code == "no_object_store" and stored.size <= WITHOUT_STORE_BYTES:
            return False
        if code in REFUSALS:
            raise OutputRefusedError(REFUSALS[code].format(size=stored.size))
        raise _error(response, execution_id=execution_id, unit="")

    async def load_output(self, execution_id: str, stored: StoredOutput) -> bytes:
        """Return an output that was kept; see ``ExecutionStore``."""
        response = await self._request("GET", f"{self._path(execution_id)}/outputs/{stored.sha256}")
        if response.is_success:
            return response.content
        raise _error(response, execution_id=execution_id, unit="")

    async def watch(self, execution_id: str, awaited: Sequence[str], seconds: float = WATCH_SECONDS) -> News:
        """Wait for news; see ``ExecutionStore``. The control plane answers after at most ``seconds``."""
        path = f"{self._path(execution_id)}/watch?wait={seconds:.3f}s"
        path += "".join(f"&awaited={_segment(each)}" for each in awaited)
        return _read(await self._request("GET", path), News, execution_id=execution_id, unit="")

    async def ask_approval(self, execution_id: str, step_id: str, request: ApprovalRequest) -> ApprovalState:
        """Ask people for a decision; see ``ExecutionStore``."""
        path = f"{self._path(execution_id)}/approvals/{_segment(step_id)}"
        response = await self._request("PUT", path, content=request.model_dump_json().encode())
        return _read(response, ApprovalState, execution_id=execution_id, unit=step_id)

    async def answer_approval(self, execution_id: str, step_id: str, answer: ApprovalAnswer) -> AnswerReceipt:
        """Hand in an answer; see ``ExecutionStore``."""
        path = f"approvals/{_segment(step_id)}/decision"
        return await self._post(execution_id, path, answer, AnswerReceipt, unit=step_id)

    async def start_child(self, execution_id: str, request: ChildRequest) -> ChildState:
        """Start an execution of another workflow; see ``ExecutionStore``."""
        return await self._post(execution_id, "children", request, ChildState, unit="")

    async def cancel_child(self, execution_id: str, child_id: str) -> None:
        """Cancel a child; see ``ExecutionStore``."""
        path = f"{self._path(execution_id)}/children/{_segment(child_id)}"
        response = await self._request("DELETE", path)
        if not response.is_success:
            raise _error(response, execution_id=execution_id, unit="")

    async def model_credential(self, execution_id: str, provider: str) -> ModelCredential:
        """Return a model key; see ``ExecutionStore``."""
        path = f"{self._path(execution_id)}/credentials/models/{_segment(provider)}"
        response = await self._request("GET", path)
        return _read(response, ModelCredential, execution_id=execution_id, unit="")

    async def redactions(self, execution_id: str) -> Redactions:
        """Return the secrets to mask; see ``ExecutionStore``."""
        response = await self._request("GET", f"{self._path(execution_id)}/credentials/redactions")
        return _read(response, Redactions, execution_id=execution_id, unit="")

    async def pod_settings(self, execution_id: str) -> PodSettings:
        """Return how pods are made; see ``ExecutionStore``."""
        response = await self._request("GET", f"{self._path(execution_id)}/pods")
        return _read(response, PodSettings, execution_id=execution_id, unit="")

    async def emit_event(self, execution_id: str, emission: Emission) -> EmittedEvent:
        """Raise an event; see ``ExecutionStore``."""
        return await self._post(execution_id, "events", emission, EmittedEvent, unit="")

    async def _post(self, execution_id: str, action: str, body: Record, answer: type[Answer], *, unit: str) -> Answer:
        # A lease goes to the run's id: that is how the control plane knows a run it has adopted.
        path = f"{self._path(execution_id, leased=action != 'lease')}/{action}"
        response = await self._request("POST", path, content=body.model_dump_json().encode())
        return _read(response, answer, execution_id=execution_id, unit=unit)

    def _path(self, execution_id: str, *, leased: bool = True) -> str:
        known = self.execution_id(execution_id) if leased else execution_id
        return f"/executions/{_segment(known)}"

    async def _request(
        self, method: str, path: str, content: bytes | None = None, media_type: str = "application/json"
    ) -> httpx.Response:
        headers = {} if content is None else {"Content-Type": media_type}
        problem = "no answer"
        for wait in (*QUICK_RETRIES, None):
            try:
                response = await self._client.request(method, path, content=content, headers=headers)
            except httpx.TransportError as error:
                problem = type(error).__name__
            else:
                if response.status_code not in AWAY:
                    return response
                problem = f"HTTP {response.status_code}"
            if wait is not None:
                await asyncio.sleep(wait)
        raise StoreError(f"the runtime API did not answer: {problem}")


def _segment(text: str) -> str:
    """Return a text as one segment of a path: run ids of Airflow hold colons, pluses and more."""
    return quote(text, safe="")


def _read(response: httpx.Response, answer: type[Answer], *, execution_id: str, unit: str) -> Answer:
    if response.is_success:
        try:
            return answer.model_validate_json(response.content)
        except ValidationError:
            raise StoreError(f"the runtime API answered no {answer.__name__}") from None
    raise _error(response, execution_id=execution_id, unit=unit)


def _error(response: httpx.Response, *, execution_id: str, unit: str) -> StoreError:
    """Return the exception of a problem+json answer; its ``detail`` stays out, since it may hold tenant text."""
    problem = _problem(response)
    code = problem.get("code")
    if code == "lease_held":
        return LeaseHeldError(unit, _seconds(problem.get("retry_after")))
    if code == "stale_lease":
        return StaleLeaseError(f"the lease on unit {unit!r} was taken over")
    if code == "execution_ended":
        status = problem.get("status")
        ended = problem.get("execution_status", status)
        return ExecutionEndedError(execution_id, ended if ended in ("success", "failed", "cancelled") else "failed")
    if code in ("paused", "not_begun"):
        return NotBegunError("the run began nothing: its workflow was paused when the clock started it")
    if code == "depth_exceeded":
        return DepthExceededError(f"execution {execution_id!r} may start no other")
    if response.status_code >= 500 or response.status_code in (408, 429):
        return StoreError(f"the runtime API answered HTTP {response.status_code}")
    known = f" ({code})" if isinstance(code, str) and code.isidentifier() else ""
    return RejectedError(f"the runtime API refused the call: HTTP {response.status_code}{known}")


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _seconds(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and value >= 0 else 1.0
