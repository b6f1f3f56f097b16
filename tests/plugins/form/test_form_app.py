"""The form's endpoints: Airflow's own check in front, a stub of the control plane behind."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.core_api import security
from airflow.models.dag import DagModel
from fastapi import FastAPI
from fastapi.testclient import TestClient
from jwt import InvalidTokenError

from plugins.agent_factory import PREFIX, AgentFactoryPlugin
from plugins.form import app as form_module
from tests.stubs.form_api import EXECUTION_ID, TOKEN, FormApi

pytestmark = pytest.mark.unit

DAG = "acme__greet"
PATH = f"{PREFIX}/dags/{DAG}/form"
HOSTILE = """</textarea><script>alert('x"y')</script>{{ 7*7 }}"""
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "title": "Who"},
        "count": {"type": "integer", "minimum": 1},
        "kind": {"enum": ["new", "old"]},
        "more": {"type": "object"},
    },
    "required": ["name"],
}


class Airflow:
    """Airflow's auth manager: users by token, and which of them may start which DAG."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any, str | None]] = []

    async def get_user_from_token(self, token: str) -> Any:
        if token not in ("ann", "bob"):
            raise InvalidTokenError
        return SimpleNamespace(get_id=lambda: token)

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: Any) -> bool:
        self.asked.append((method, access_entity, details.id))
        return user.get_id() == "ann" and details.id is not None and details.id.startswith("acme__")


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    manager = Airflow()
    monkeypatch.setattr(security, "get_auth_manager", lambda: manager)
    monkeypatch.setattr(DagModel, "get_team_name", lambda dag_id: None)
    monkeypatch.setenv("AIRFLOW__API__SECRET_KEY", "secret of the test")
    return manager


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FormApi]:
    with FormApi("acme", "greet") as api:
        api.form["input_schema"] = SCHEMA
        monkeypatch.setenv("AGENT_FACTORY_API_URL", api.url)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", TOKEN)
        yield api


def client(user: str | None) -> TestClient:
    """A browser: Airflow with the plugin's apps, and a user's cookie."""
    app = FastAPI()
    for entry in AgentFactoryPlugin.fastapi_apps:
        app.mount(entry["url_prefix"], entry["app"])
    return TestClient(app, cookies={COOKIE_NAME_JWT_TOKEN: user} if user else {}, raise_server_exceptions=False)


@pytest.fixture
def ann(airflow: Airflow, api: FormApi) -> TestClient:
    return client("ann")


def token_of(page: str) -> str:
    match = re.search(r'name="token" value="([^"]+)"', page)
    assert match is not None
    return match[1]


def send(browser: TestClient, path: str = PATH, **entered: str) -> Any:
    """Open the form and send it."""
    token = token_of(browser.get(path).text)
    return browser.post(path, data={"token": token} | {f"input.{key}": value for key, value in entered.items()})


class TestAccess:
    @pytest.mark.parametrize(("user", "status"), [(None, 401), ("eve", 403), ("bob", 403)])
    def test_refused(self, user: str | None, status: int, airflow: Airflow, api: FormApi) -> None:
        browser = client(user)
        assert browser.get(PATH).status_code == status
        assert browser.post(PATH, data={"input.name": "Ann"}).status_code == status
        assert api.calls == 0

    def test_asks_for_the_right_to_trigger_this_dag(self, ann: TestClient, airflow: Airflow) -> None:
        assert ann.get(PATH).status_code == 200
        assert airflow.asked == [("POST", form_module.DagAccessEntity.RUN, DAG)]

    def test_dag_of_another_organisation(self, ann: TestClient, api: FormApi) -> None:
        assert ann.get(f"{PREFIX}/dags/other__greet/form").status_code == 403
        assert api.calls == 0

    @pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", f"/dags/{DAG}"])
    def test_nothing_else_is_served(self, path: str, airflow: Airflow, api: FormApi) -> None:
        assert client(None).get(PREFIX + path).status_code == 404


class TestShow:
    def test_fields(self, ann: TestClient) -> None:
        text = ann.get(PATH).text
        assert "<h1>Greeter</h1>" in text
        assert "version 3" in text
        for name in SCHEMA["properties"]:
            assert f'name="input.{name}"' in text

    def test_one_field_for_json(self, ann: TestClient, api: FormApi) -> None:
        assert 'name="input"' in ann.get(f"{PATH}?as=json").text
        api.form["input_schema"] = None
        assert 'name="input"' in ann.get(PATH).text

    def test_policy(self, ann: TestClient) -> None:
        response = ann.get(PATH)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        assert response.headers["cache-control"] == "no-store"
        assert not re.search(r"<script|<link|<img|\son\w+=|https?://", response.text)

    def test_tenant_text_is_escaped(self, ann: TestClient, api: FormApi) -> None:
        api.form |= {
            "name": HOSTILE, "description": HOSTILE,
            "input_schema": {"type": "object", "properties": {HOSTILE: {
                "type": "string", "title": HOSTILE, "description": HOSTILE, "default": HOSTILE,
            }, "choice": {"enum": [HOSTILE]}}},
        }  # fmt: skip
        text = ann.get(PATH).text
        assert "<script" not in text
        assert text.count("</textarea>") == 1
        assert "{{ 7*7 }}" in text
        assert html.escape("</textarea><script>") in text

    def test_unpublished(self, ann: TestClient) -> None:
        assert ann.get(f"{PREFIX}/dags/acme__other/form").status_code == 404

    @pytest.mark.parametrize(
        "dag_id", ["acme__", "acme__release__", "acme__Greet", "acme____class__", "acme__greet-v2"]
    )
    def test_no_workflow(self, ann: TestClient, api: FormApi, dag_id: str) -> None:
        assert ann.get(f"{PREFIX}/dags/{quote(dag_id)}/form").status_code == 404
        assert api.calls == 0

    def test_control_plane_trouble(self, ann: TestClient, api: FormApi, monkeypatch: pytest.MonkeyPatch) -> None:
        api.failure = 500
        assert ann.get(PATH).status_code == 503
        monkeypatch.setenv("AGENT_FACTORY_API_URL", "http://127.0.0.1:9")
        assert ann.get(PATH).status_code == 503
        monkeypatch.delenv("AGENT_FACTORY_RUNTIME_TOKEN")
        assert ann.get(PATH).status_code == 503


class TestSend:
    def test_starts(self, ann: TestClient, api: FormApi) -> None:
        response = send(ann, name="Ann", count="2", kind="1", more='{"a": 1}')
        assert response.status_code == 202, response.text
        assert api.inputs == [{"name": "Ann", "count": 2, "kind": "old", "more": {"a": 1}}]
        assert f'href="/dags/{DAG}/runs/{EXECUTION_ID}"' in response.text
        assert f'href="http://factory.test/api/v1/executions/{EXECUTION_ID}"' in response.text

    def test_starts_with_json(self, ann: TestClient, api: FormApi) -> None:
        path = f"{PATH}?as=json"
        token = token_of(ann.get(path).text)
        response = ann.post(path, data={"token": token, "input": '{"name": "Ann", "further": [1]}'})
        assert response.status_code == 202
        assert api.inputs == [{"name": "Ann", "further": [1]}]

    def test_what_is_no_value_is_shown_and_kept(self, ann: TestClient, api: FormApi) -> None:
        response = send(ann, name=HOSTILE, count="many")
        assert response.status_code == 422
        assert "must be a number" in response.text
        assert html.escape("</textarea><script>") in response.text
        assert "<script" not in response.text
        assert api.inputs == []

    def test_what_the_control_plane_refuses_is_shown(self, ann: TestClient, api: FormApi) -> None:
        response = send(ann, name="Ann", count="0")
        assert response.status_code == 422
        assert "0 is less than the minimum of 1" in response.text
        api.form["input_schema"] = SCHEMA | {"required": ["absent"]}
        response = send(ann, name="Ann")
        assert "'absent' is a required property" in html.unescape(response.text)
        assert api.inputs == []

    def test_too_deep_or_too_large_for_the_control_plane(self, ann: TestClient, api: FormApi) -> None:
        path = f"{PATH}?as=json"
        token = token_of(ann.get(path).text)
        response = ann.post(path, data={"token": token, "input": "[" * 500 + "]" * 500})
        assert (response.status_code, "nested too deep" in response.text) == (422, True)
        api.refusal = 413
        response = ann.post(path, data={"token": token, "input": '{"name": "Ann"}'})
        assert (response.status_code, "The input does not fit." in response.text) == (422, True)

    def test_control_plane_trouble(self, ann: TestClient, api: FormApi) -> None:
        token = token_of(ann.get(PATH).text)
        api.failure = 500
        assert ann.post(PATH, data={"token": token, "input.name": "Ann"}).status_code == 503


class TestTwice:
    def test_the_same_form_starts_one(self, ann: TestClient, api: FormApi) -> None:
        data = {"token": token_of(ann.get(PATH).text), "input.name": "Ann"}
        first, second = ann.post(PATH, data=data), ann.post(PATH, data=data)
        assert api.inputs == [{"name": "Ann"}]
        assert (first.status_code, second.status_code) == (202, 202)
        assert ("Started." in first.text, "Started before." in second.text) == (True, True)
        assert EXECUTION_ID in second.text

    def test_another_input_or_page_starts_another(self, ann: TestClient, api: FormApi) -> None:
        token = token_of(ann.get(PATH).text)
        for name in ("Ann", "Bob"):
            assert ann.post(PATH, data={"token": token, "input.name": name}).status_code == 202
        assert send(ann, name="Ann").status_code == 202
        assert api.inputs == [{"name": "Ann"}, {"name": "Bob"}, {"name": "Ann"}]


class TestForgery:
    """What another site makes a browser send carries the cookie, and no token."""

    @pytest.mark.parametrize("token", ["", "x", "W10.x.y"])
    def test_without_a_token(self, ann: TestClient, api: FormApi, token: str) -> None:
        assert ann.post(PATH, data={"token": token, "input.name": "Ann"}).status_code == 403
        assert api.calls == 0

    def test_token_of_another_user_or_dag(self, ann: TestClient, api: FormApi) -> None:
        tokens = form_module._tokens()
        for content in (["bob", DAG, "page"], ["ann", "acme__other", "page"], ["ann", DAG], "ann"):
            data = {"token": tokens.dumps(content), "input.name": "Ann"}
            assert ann.post(PATH, data=data).status_code == 403

    def test_old_token(self, ann: TestClient, api: FormApi, monkeypatch: pytest.MonkeyPatch) -> None:
        token = token_of(ann.get(PATH).text)
        monkeypatch.setattr(form_module, "TOKEN_SECONDS", -1)
        assert ann.post(PATH, data={"token": token, "input.name": "Ann"}).status_code == 403

    def test_other_media_types(self, ann: TestClient, api: FormApi) -> None:
        assert ann.post(PATH, json={"token": "x"}).status_code == 415

    def test_too_large_or_broken(self, ann: TestClient, api: FormApi) -> None:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        assert ann.post(PATH, content=b"a=" + b"x" * 2_000_001, headers=headers).status_code == 413
        assert ann.post(PATH, content=b"a=%ff", headers=headers).status_code == 422
        assert ann.post(PATH, content="&".join(f"f{n}=1" for n in range(2_001)), headers=headers).status_code == 422
