"""What all endpoints share: problems, request ids, health, and starting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import httpx
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from api.app import create_app
from api.migrate import is_of_models, migrate, newest_revision
from api.settings import Settings, SettingsError
from tests.api.control_plane import ControlPlane
from tests.support import free_ports

pytestmark = pytest.mark.platform


class TestProblems:
    async def test_unknown_path(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.get("/nowhere")
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json().keys() == {"type", "title", "status", "detail", "code"}
        assert (response.status_code, response.json()["code"]) == (404, "not_found")

    async def test_wrong_method(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.delete("/health")
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET"

    async def test_our_own_mistake_tells_nothing(self, control_plane: ControlPlane) -> None:
        async def broken() -> None:
            raise RuntimeError("inner-detail")

        control_plane.app.add_api_route("/broken", broken)
        response = await control_plane.public.get("/broken")
        assert (response.status_code, response.json()["code"]) == (500, "internal_error")
        assert "inner-detail" not in response.text

    async def test_database_away(self, control_plane: ControlPlane) -> None:
        async def broken() -> None:
            raise OperationalError("SELECT inner-detail", {}, Exception("inner-detail"))

        control_plane.app.add_api_route("/broken", broken)
        response = await control_plane.public.get("/broken")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert "inner-detail" not in response.text


class TestRequestId:
    async def test_new_one(self, control_plane: ControlPlane) -> None:
        first, second = [(await control_plane.public.get("/health")).headers["x-request-id"] for _ in range(2)]
        assert first
        assert first != second

    async def test_callers_own(self, control_plane: ControlPlane) -> None:
        response = await control_plane.public.get("/nowhere", headers={"x-request-id": "abc-1.2_3"})
        assert response.headers["x-request-id"] == "abc-1.2_3"

    @pytest.mark.parametrize("value", ["a b", "x" * 65, "<script>", ""])
    async def test_harmful_one_is_replaced(self, control_plane: ControlPlane, value: str) -> None:
        response = await control_plane.public.get("/health", headers={"x-request-id": value})
        assert response.headers["x-request-id"] not in (value, "")


class TestDocument:
    async def test_openapi(self, control_plane: ControlPlane) -> None:
        paths = (await control_plane.public.get("/openapi.json")).json()["paths"]
        assert "/api/v1/workflows/{workflow_id}/publish" in paths


class TestMigrations:
    @pytest.fixture
    def database_url(self, fresh_database_url: str) -> str:
        return fresh_database_url

    def test_down_and_up_and_up_again(self, owner_url: URL) -> None:
        for revision in ("base", "head", "head"):
            migrate(owner_url, revision)
        engine = create_engine(owner_url)
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM agent_factory_migrations")) == newest_revision()
        engine.dispose()

    def test_models_and_migrations_agree(self, owner_url: URL) -> None:
        from alembic.autogenerate import compare_metadata
        from alembic.migration import MigrationContext

        from api.models import Base

        engine = create_engine(owner_url)
        with engine.connect() as connection:
            opts = {"version_table": "agent_factory_migrations", "include_object": is_of_models}
            context = MigrationContext.configure(connection, opts=opts)
            assert compare_metadata(context, Base.metadata) == []
        engine.dispose()


class TestCommands:
    @pytest.mark.parametrize("module", ["api", "api.relay", "api.migrate"])
    def test_missing_settings_are_one_sentence(self, module: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
        result = subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stderr.startswith("The control plane cannot start: set AGENT_FACTORY_DATABASE_URL")
        assert len(result.stderr.splitlines()) == 1

    def test_process_isolation_with_two_organisations(self, settings: Settings, owner_url: URL) -> None:
        engine = create_engine(owner_url)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO organizations (slug, name) VALUES ('acme', 'A'), ('default', 'D')"))
        environment = os.environ | {
            "AGENT_FACTORY_DATABASE_URL": settings.database_url,
            "AGENT_FACTORY_API_TOKEN": "a",
            "AGENT_FACTORY_RUNTIME_TOKEN": "r",
        }
        result = subprocess.run([sys.executable, "-m", "api"], env=environment, capture_output=True, text=True)
        engine.dispose()
        assert result.returncode == 1
        assert "AGENT_FACTORY_ISOLATION=process there must be one organisation" in result.stderr
        assert len(result.stderr.splitlines()) == 1

    async def test_any_server_refuses_two_organisations(self, settings: Settings, owner_url: URL) -> None:
        engine = create_engine(owner_url)
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO organizations (slug, name) VALUES ('acme', 'A')"))
        engine.dispose()
        app = create_app(settings)
        with pytest.raises(SettingsError, match="one organisation"):
            async with app.router.lifespan_context(app):
                pass
        app = create_app(settings.model_copy(update={"isolation": "kubernetes"}))
        async with app.router.lifespan_context(app):
            pass

    def test_migrate_twice(self, settings: Settings, owner_url: URL) -> None:
        environment = os.environ | {
            "AGENT_FACTORY_DATABASE_URL": settings.database_url,
            "AGENT_FACTORY_DATABASE_OWNER_URL": owner_url.render_as_string(hide_password=False),
        }
        for _ in range(2):
            result = subprocess.run([sys.executable, "-m", "api.migrate"], env=environment, capture_output=True)
            assert (result.returncode, result.stderr) == (0, b"")

    def test_serve_until_terminated(self, settings: Settings) -> None:
        [port] = free_ports(1)
        environment = os.environ | {
            "AGENT_FACTORY_DATABASE_URL": settings.database_url,
            "AGENT_FACTORY_API_TOKEN": "a",
            "AGENT_FACTORY_RUNTIME_TOKEN": "r",
            "AGENT_FACTORY_API_PORT": str(port),
            "AGENT_FACTORY_AIRFLOW_URL": "http://127.0.0.1:9",
        }
        server = subprocess.Popen([sys.executable, "-m", "api"], env=environment, stderr=subprocess.PIPE)
        try:
            transport = httpx.HTTPTransport(retries=10)  # waits longer each time while nobody listens
            with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
                assert client.get("/ready").status_code == 200
            server.send_signal(signal.SIGTERM)
            _, log = server.communicate(timeout=20)
        finally:
            server.kill()
            server.wait()
        assert server.returncode in (0, -signal.SIGTERM)
        assert b"Traceback" not in log
