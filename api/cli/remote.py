"""``publish``, ``execute`` and ``executions``: talk with a running control plane."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import click
import httpx
import orjson

from api.cli.files import read_source
from api.cli.output import print_json
from api.cli.run import JsonParam
from api.cli.stored_login import LoginOver, StoredLogin, fresh_login, read_login
from api.platform.errors import PlatformError
from api.platform.home import Home
from compiler.fields import is_identifier
from compiler.problems import one_line

WAIT_SECONDS = 30
FINAL = ("success", "failed", "cancelled")


class RemoteError(click.ClickException):
    """What went wrong, in one sentence; exit code 1.

    :param is_passing: Whether the same request may succeed a little later.
    """

    def __init__(self, message: str, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.is_passing = is_passing


class Remote:
    """The control plane of ``AGENT_FACTORY_API_URL`` and ``AGENT_FACTORY_API_TOKEN``, else that of the stored login,
    else the running platform's."""

    def __init__(self) -> None:
        url, token = os.environ.get("AGENT_FACTORY_API_URL"), os.environ.get("AGENT_FACTORY_API_TOKEN")
        login = None if token else _stored_login(url)
        if login is not None:
            url, token = login.url, login.access_token
        if not (url and token):
            state = _platform_state()
            # The platform's token goes to the platform only.
            if url in (None, "", state.get("api_url")):
                url, token = state.get("api_url"), token or state.get("api_token")
        if not (url and token):
            raise RemoteError(
                "No control plane is known: start one with `agent-factory up`, or set AGENT_FACTORY_API_URL and "
                "AGENT_FACTORY_API_TOKEN."
            )
        self._connect(str(url), str(token))

    @classmethod
    def of_login(cls) -> Remote:
        """Return the control plane of the stored login.

        :raises RemoteError: Nobody is logged in.
        """
        login = _stored_login(None)
        if login is None:
            raise RemoteError("Nobody is logged in; `agent-factory login` does it.")
        remote = cls.__new__(cls)
        remote._connect(login.url, login.access_token)
        return remote

    def _connect(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"}
        self._client = httpx.Client(headers=headers, timeout=httpx.Timeout(WAIT_SECONDS + 30.0, connect=5.0))

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request.

        :raises RemoteError: No control plane answers.
        """
        try:
            return self._client.request(method, self._url + path, **arguments)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            reason = type(error).__name__
            raise RemoteError(
                f"No control plane answers at {self._url} ({reason}); start one with `agent-factory up`."
            ) from None

    @contextmanager
    def stream(self, path: str, headers: dict[str, str]) -> Iterator[Iterator[str]]:
        """Give the lines of an answer as they come; none where there is no content.

        :raises RemoteError: The control plane refuses.
        :raises httpx.TransportError: The connection is lost, or there is none.
        """
        with self._client.stream("GET", self._url + path, headers=headers) as response:
            if not response.is_success:
                response.read()
                refuse_response(response)
            yield response.iter_lines()

    def send(self, method: str, path: str) -> None:
        """Make a request whose answer has no body.

        :raises RemoteError: No control plane answers, or it refuses.
        """
        response = self.request(method, path)
        if not response.is_success:
            _refuse_problem(response, _body(response))


def _stored_login(url: str | None) -> StoredLogin | None:
    """Return the stored login, fresh; None where there is none, or it is of another control plane than ``url``.

    :raises RemoteError: Its session is over, or its control plane does not answer.
    """
    stored = read_login()
    if stored is None or (url and url.rstrip("/") != stored.url):
        return None
    try:
        with httpx.Client(timeout=30.0) as client:
            return fresh_login(client)
    except LoginOver:
        raise RemoteError(f"The login at {stored.url} is over; `agent-factory login` makes a new one.") from None
    except httpx.HTTPError as error:
        raise RemoteError(
            f"The control plane of the login, {stored.url}, does not answer ({type(error).__name__}); start it, or "
            "forget the login with `agent-factory logout`."
        ) from None


def running_platform_url() -> str | None:
    """Return the address of the running platform's control plane."""
    return _platform_state().get("api_url")


def read_answer(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    :raises RemoteError: It is none, or a refusal.
    """
    body = _body(response)
    _refuse_problem(response, body)
    return body


def _platform_state() -> dict[str, Any]:
    try:
        return Home.from_environment().read_state()
    except PlatformError as error:
        raise RemoteError(str(error)) from None


@click.command("publish")
@click.argument("file", type=click.Path(path_type=Path))
def publish_command(file: Path) -> None:
    """Publish the workflow in FILE: the next executions use it."""
    source = read_source(file)
    path = f"/api/v1/workflows/{quote(_workflow_id(source), safe='')}/publish"
    response = Remote().request("POST", path, content=source, headers={"content-type": "application/json"})
    body = _body(response)
    if response.status_code == 422 and "diagnostics" in body:
        print_json({"diagnostics": body["diagnostics"]})
        sys.exit(1)
    _refuse_problem(response, body)
    print_json(body)


def _workflow_id(source: bytes) -> str:
    """Return the workflow's id; where there is none to read, any will do: the server says what is wrong."""
    try:
        document = orjson.loads(source)
    except orjson.JSONDecodeError:
        return "unknown"
    identifier = document.get("id") if isinstance(document, dict) else None
    return identifier if isinstance(identifier, str) and is_identifier(identifier) else "unknown"


@click.command("execute")
@click.argument("workflow_id")
@click.option("--input", "input_value", type=JsonParam(), default="{}", help="The execution's input. [default: {}]")
@click.option("--wait", is_flag=True, help="Wait for the end; exit 0 only on success.")
def execute_command(workflow_id: str, input_value: Any, wait: bool) -> None:
    """Start the published workflow WORKFLOW_ID."""
    request = {"workflow_id": workflow_id, "input": input_value}
    remote = Remote()
    content = orjson.dumps(request)
    headers = {"content-type": "application/json"}
    response = remote.request("POST", "/api/v1/workflows/execute", content=content, headers=headers)
    body = _body(response)
    _refuse_problem(response, body)
    if not wait:
        print_json(body)
        return
    execution = _wait(remote, str(body["execution_id"]))
    print_json(execution)
    sys.exit(0 if execution["status"] == "success" else 1)


def _wait(remote: Remote, execution_id: str) -> dict[str, Any]:
    while True:
        began = time.monotonic()
        execution = _show(remote, execution_id, wait=f"{WAIT_SECONDS}s")
        if execution["status"] in FINAL:
            return execution
        # A server that does not hold the request is not asked all the time.
        time.sleep(max(0.0, 0.5 - (time.monotonic() - began)))


def _show(remote: Remote, execution_id: str, *, wait: str = "0") -> dict[str, Any]:
    response = remote.request("GET", f"/api/v1/executions/{quote(execution_id, safe='')}", params={"wait": wait})
    body = _body(response)
    _refuse_problem(response, body)
    return body


@click.group("executions")
def executions_command() -> None:
    """Look at executions, cancel them, and run them again."""


@executions_command.command("show")
@click.argument("execution_id", metavar="ID")
@click.option("--format", "output_format", type=click.Choice(["text", "json"]), default="text", show_default=True)
def show_command(execution_id: str, output_format: str) -> None:
    """Show an execution with its steps."""
    execution = _show(Remote(), execution_id)
    if output_format == "json":
        print_json(execution)
    else:
        click.echo("\n".join(describe_execution(execution)))


@executions_command.command("cancel")
@click.argument("execution_id", metavar="ID")
def cancel_command(execution_id: str) -> None:
    """Cancel an execution; one that has ended stays as it is."""
    response = Remote().request("POST", f"/api/v1/executions/{quote(execution_id, safe='')}/cancel")
    body = _body(response)
    _refuse_problem(response, body)
    print_json(body)


@executions_command.command("retry")
@click.argument("execution_id", metavar="ID")
def retry_command(execution_id: str) -> None:
    """Have a failed or cancelled execution go on where it failed."""
    print_json(call(Remote(), "POST", f"/api/v1/executions/{quote(execution_id, safe='')}/retry"))


@executions_command.command("rerun")
@click.argument("execution_id", metavar="ID")
@click.option("--from", "step_id", metavar="STEP", help="The first task to run again. [default: all]")
def rerun_command(execution_id: str, step_id: str | None) -> None:
    """Run an ended execution again, what succeeded too: model calls are paid again."""
    path = f"/api/v1/executions/{quote(execution_id, safe='')}/rerun"
    print_json(call(Remote(), "POST", path, params={} if step_id is None else {"from": step_id}))


def describe_execution(execution: dict[str, Any]) -> list[str]:
    """Return an execution as lines of text: its status, a line a step, where to see it in Airflow."""
    epoch = f", epoch {execution['epoch']}" if execution["epoch"] else ""
    lines = [
        f"{execution['workflow_id']} version {execution['version']}, execution {execution['execution_id']}{epoch}: "
        f"{execution['status']}{_time(execution['duration_ms'])}"
    ]
    if execution["error"]:
        lines.append(f"  {_error(execution['error'])}")
    width = max((len(step["id"]) for step in execution["steps"]), default=0)
    for step in execution["steps"]:
        rest = f"  {_error(step['error'])}" if step["error"] else _approval(step)
        lines.append(
            f"  {step['id']:<{width}}  {step['status']}{_time(step['duration_ms'])}{_tokens(step)}{_items(step)}{rest}"
        )
    if execution["error_workflow"]:
        lines.append(f"  error workflow {_handling(execution['error_workflow'])}")
    lines.append(f"  Airflow: {execution['airflow_url']}")
    return lines


def _approval(step: dict[str, Any]) -> str:
    """Name the decision that a step waits for."""
    waits = step["approval_id"] and step["status"] in ("pending", "running")
    return f"  waits for approval {step['approval_id']}" if waits else ""


def _items(step: dict[str, Any]) -> str:
    """Count the items of a map by what became of them."""
    counts = Counter(item["status"] for item in step["items"] or ())
    return "  items: " + ", ".join(f"{count} {status}" for status, count in counts.items()) if counts else ""


def _handling(handling: dict[str, Any]) -> str:
    if handling["problem"] is None:
        return f"{handling['workflow_id']}: execution {handling['execution_id']}"
    return f"{handling['workflow_id']} was not started: {_error(handling['problem'])}"


def _error(error: dict[str, Any]) -> str:
    return f"{error['code']}: {one_line(error['message'])}"


def _time(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"  {milliseconds:.0f} ms"


def _tokens(step: dict[str, Any]) -> str:
    if not step["usage"]:
        return ""
    tokens = sum(call["input_tokens"] + call["output_tokens"] for call in step["usage"])
    cost = "price unknown" if step["cost_usd"] is None else f"${step['cost_usd']:.6f}"
    return f"  {tokens} tokens, {cost}"


def call(remote: Remote, method: str, path: str, **arguments: Any) -> dict[str, Any]:
    """Make a request and return the JSON object of its answer.

    :raises RemoteError: There is none, or the control plane refuses.
    """
    return read_answer(remote.request(method, path, **arguments))


def _body(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    :raises RemoteError: It is none, so that the other side is no control plane.
    """
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise RemoteError(f"{response.url} answered HTTP {response.status_code}, but not as a control plane does.")
    return body


def refuse_response(response: httpx.Response) -> NoReturn:
    """Say why the control plane refuses.

    :raises RemoteError: Always.
    """
    detail = _body(response).get("detail") or f"The control plane answered HTTP {response.status_code}."
    raise RemoteError(str(detail), is_passing=response.status_code in (429, 502, 503, 504))


def _refuse_problem(response: httpx.Response, body: dict[str, Any]) -> None:
    if not response.is_success:
        _refuse(str(body.get("detail") or f"The control plane answered HTTP {response.status_code}."))


def _refuse(sentence: str) -> NoReturn:
    raise RemoteError(sentence)
