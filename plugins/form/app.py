"""The form's endpoints in Airflow's API server. Whoever may start a DAG may see and send its form; nobody else.

Airflow does not authenticate the apps of plugins: each endpoint here depends on Airflow's own check. A browser sends
Airflow's cookie with every request, also with those that another site makes it send; so a form is taken only with the
token that its page has, which no other site can read.

The token also names the page: sent twice (a double click, a reload of the answer), it starts one execution.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, FastAPI, Request
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.responses import HTMLResponse

from compiler.fields import is_identifier, is_organization
from compiler.pins import pinned_number
from plugins.form import control_plane
from plugins.form.control_plane import ControlPlaneError, InvalidInputError, UnknownWorkflowError
from plugins.form.fields import Field, errors_by_field, fields_of, input_of
from plugins.form.page import page

MAX_BYTES = 2_000_000
MAX_FIELDS = 2_000
TOKEN_SECONDS = 12 * 3600

app = FastAPI(title="Agent Factory", docs_url=None, redoc_url=None, openapi_url=None)
may_trigger = Depends(requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN))


class FormRefusedError(Exception):
    """A form that is not taken; the page says why."""

    def __init__(self, status: int, title: str, notice: str) -> None:
        super().__init__(title)
        self.status, self.title, self.notice = status, title, notice


@app.exception_handler(FormRefusedError)
async def _refuse(request: Request, error: Exception) -> HTMLResponse:
    assert isinstance(error, FormRefusedError)
    return page(error.status, title=error.title, notice=error.notice, problem=True)


def base_path() -> str:
    """Return the path under which Airflow is served, without a slash at its end."""
    return urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


def _workflow_of(dag_id: str) -> tuple[str, str]:
    if pinned_number(dag_id) is not None:
        notice = "This DAG is a version that other workflows have pinned; it is started by them only."
        raise FormRefusedError(404, "No form", notice)
    organization, _, workflow_id = dag_id.partition("__")
    if not (is_organization(organization) and is_identifier(workflow_id)):
        raise FormRefusedError(404, "No form", "This DAG is no workflow of Agent Factory.")
    return organization, workflow_id


Workflow = Annotated[tuple[str, str], Depends(_workflow_of)]


def _tokens() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(conf.get_mandatory_value("api", "secret_key"), salt="agent-factory-form")


async def _form(workflow: tuple[str, str]) -> dict[str, Any]:
    try:
        form = await control_plane.get_form(*workflow)
    except UnknownWorkflowError:
        raise FormRefusedError(404, "No form", "This workflow is not published.") from None
    except ControlPlaneError as error:
        raise _away(error) from None
    return {**form, "has_fields": fields_of(form.get("input_schema"))[0].key is not None}


def _away(error: ControlPlaneError) -> FormRefusedError:
    notice = f"The control plane of Agent Factory does not answer as it should ({error}). Try again later."
    return FormRefusedError(503, "Not now", notice)


def _shown(
    status: int, form: dict[str, Any], fields: list[Field], user: Any, dag_id: str, **values: Any
) -> HTMLResponse:
    token = _tokens().dumps([str(user.get_id()), dag_id, secrets.token_hex(16)])
    return page(status, title=form["name"], form=form, fields=fields, token=token, **values)


@app.get("/dags/{dag_id}/form", dependencies=[may_trigger])
async def show_form(dag_id: str, request: Request, workflow: Workflow, user: GetUserDep) -> HTMLResponse:
    """Show the form of a DAG's current version."""
    form = await _form(workflow)
    return _shown(200, form, _fields(form, request), user, dag_id)


def _fields(form: dict[str, Any], request: Request) -> list[Field]:
    return fields_of(form.get("input_schema"), as_json=request.query_params.get("as") == "json")


@app.post("/dags/{dag_id}/form", dependencies=[may_trigger])
async def send_form(dag_id: str, request: Request, workflow: Workflow, user: GetUserDep) -> HTMLResponse:
    """Start the workflow with what was entered."""
    entered = await _entered(request)
    sent_from = _check_token(entered.pop("token", ""), str(user.get_id()), dag_id)
    form = await _form(workflow)
    fields = _fields(form, request)
    value, errors = input_of(fields, entered)
    messages: list[str] = []
    if not errors:
        try:
            started = await control_plane.start(*workflow, value, page=sent_from)
        except InvalidInputError as refused:
            errors, messages = errors_by_field(fields, refused.errors)
            messages = messages or ([] if errors else [refused.detail])
        except UnknownWorkflowError:
            raise FormRefusedError(404, "No form", "This workflow is not published.") from None
        except ControlPlaneError as error:
            raise _away(error) from None
        else:
            # A person who sends a form twice wants to see the one run, not to be told of a mistake.
            notice = "Started before." if started.get("existing") else "Started."
            return page(202, title=form["name"], notice=notice, started=_links(dag_id, started, request), again="?")
    return _shown(422, form, fields, user, dag_id, entered=entered, errors=errors, messages=messages)


def _links(dag_id: str, started: dict[str, Any], request: Request) -> dict[str, Any]:
    run_id, url = str(started.get("run_id", "")), str(started.get("url", ""))
    run_url = f"{base_path()}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
    framed = request.headers.get("sec-fetch-dest") == "iframe"
    url = url if url.startswith(("http://", "https://")) else ""
    return {"run_id": run_id, "run_url": run_url, "url": url, "framed": framed}


async def _entered(request: Request) -> dict[str, str]:
    """Read a form's fields, bounded.

    :raises FormRefusedError: It is too large, or no form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise FormRefusedError(415, "Not taken", "Send the form as application/x-www-form-urlencoded.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FormRefusedError(413, "Not taken", f"The form must have at most {MAX_BYTES:,} bytes.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise FormRefusedError(422, "Not taken", "The form must be URL-encoded UTF-8.") from None
    return dict(pairs)


def _check_token(token: str, user_id: str, dag_id: str) -> str:
    """Return the name of the page that a token is of.

    :raises FormRefusedError: It is not of a page that this user was shown for this DAG not long ago.
    """
    try:
        match _tokens().loads(token, max_age=TOKEN_SECONDS):
            case [str(user), str(dag), str(name)] if (user, dag) == (user_id, dag_id):
                return name
    except BadSignature:
        pass
    raise FormRefusedError(403, "Not taken", "This form is too old or not yours. Open it again and send it anew.")
