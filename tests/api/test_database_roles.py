"""The roles: who may start a control plane, and how migrations make what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url

from api.app import create_app
from api.migrate import migrate
from api.platform.postgres import Cluster
from api.settings import Settings, SettingsError
from tests.api.conftest import connected
from tests.api.control_plane import ControlPlane
from tests.api.revisions import go_back_before
from tests.support import OWNER, OWNER_PASSWORD, running_postgres

pytestmark = pytest.mark.platform

PASSWORD = "some-secret"


async def start(settings: Settings, url: str) -> None:
    """Start and stop a control plane."""
    app = create_app(settings.model_copy(update={"database_url": url}))
    async with app.router.lifespan_context(app):
        pass


class TestStart:
    """With a role that row-level security does not bind, none starts."""

    @pytest.fixture
    def database(self, settings: Settings) -> str:
        name = make_url(settings.database_url).database
        assert name is not None
        return name

    @contextmanager
    def role(self, cluster: Cluster, *statements: str) -> Iterator[None]:
        with connected(cluster.url("postgres")) as cursor:
            cursor.execute(f"CREATE ROLE other LOGIN PASSWORD '{PASSWORD}'")
            try:
                for statement in statements:
                    cursor.execute(statement)
                yield
            finally:
                cursor.execute("DROP ROLE other")

    async def refusal(self, settings: Settings, url: str) -> str:
        with pytest.raises(SettingsError) as caught:
            await start(settings, url)
        message = str(caught.value)
        assert message.startswith("The control plane cannot start: ")
        assert PASSWORD not in message
        return message

    async def test_as_the_app(self, settings: Settings) -> None:
        await start(settings, settings.database_url)

    async def test_as_a_superuser(self, settings: Settings, postgres: Cluster, database: str) -> None:
        assert "got 'agent_factory', a superuser" in await self.refusal(settings, postgres.url(database))

    async def test_as_the_owner(self, settings: Settings, postgres: Cluster, database: str) -> None:
        url = postgres.url_of(OWNER, OWNER_PASSWORD, database)
        assert "which is the owner of the tables" in await self.refusal(settings, url)

    @pytest.mark.parametrize(
        ("grant", "reason"),
        [
            ("ALTER ROLE other BYPASSRLS", "has BYPASSRLS"),
            (f"GRANT {OWNER} TO other WITH INHERIT FALSE", "may become it"),
            ("GRANT agent_factory_system TO other WITH INHERIT TRUE", "WITH INHERIT TRUE"),
            ("GRANT agent_factory_system TO other WITH INHERIT FALSE, SET FALSE", "must name a member"),
            ("SELECT 1", 'GRANT agent_factory_system TO "other"'),
        ],
    )
    async def test_as_others(
        self, settings: Settings, postgres: Cluster, database: str, grant: str, reason: str
    ) -> None:
        with self.role(postgres, grant):
            message = await self.refusal(settings, postgres.url_of("other", PASSWORD, database))
            assert reason in message
            assert "'other'" in message

    async def test_as_a_member_of_the_app(self, settings: Settings, postgres: Cluster, database: str) -> None:
        """A production may give its own name to it."""
        with self.role(postgres, "GRANT agent_factory_app TO other"):
            await start(settings, postgres.url_of("other", PASSWORD, database))

    @pytest.mark.parametrize("module", ["api", "api.relay"])
    def test_is_refused_in_one_sentence(
        self, settings: Settings, postgres: Cluster, database: str, module: str
    ) -> None:
        result = run(module, DATABASE_URL=postgres.url(database), API_TOKEN="a", RUNTIME_TOKEN="r")
        assert result.returncode == 1
        assert "a superuser" in result.stderr
        assert len(result.stderr.splitlines()) == 1


def run(module: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command of ours with these settings only."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AGENT_FACTORY_")}
    environment = inherited | {f"AGENT_FACTORY_{name}": value for name, value in settings.items()}
    return subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60)


class TestTables:
    @pytest.fixture
    def database_url(self, fresh_database_url: str) -> str:
        return fresh_database_url

    @pytest.mark.parametrize(
        "statement",
        [
            "ALTER TABLE leases NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE leases DISABLE ROW LEVEL SECURITY",
            "CREATE TABLE leases_of_tomorrow (organization_id uuid)",
        ],
    )
    async def test_one_that_is_open_is_refused(self, settings: Settings, admin: Any, statement: str) -> None:
        admin.execute(statement)
        with pytest.raises(SettingsError, match=r"must have row-level security with FORCE; .* these have not: leases"):
            await start(settings, settings.database_url)

    async def test_a_database_before_the_migration(self, settings: Settings, owner_url: URL) -> None:
        go_back_before(owner_url, "0010")
        with pytest.raises(SettingsError, match=r"run `python -m api\.migrate`"):
            await start(settings, settings.database_url)

    async def test_down_and_up_with_rows(self, control_plane: ControlPlane, owner_url: URL) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        engine = create_engine(owner_url)
        look = text(
            "SELECT CAST(c.oid AS regclass)::text, relrowsecurity, relforcerowsecurity, CAST(relacl AS text), policies"
            " FROM pg_class c LEFT JOIN LATERAL (SELECT array_agg(polname ORDER BY polname) FROM pg_policy"
            " WHERE polrelid = c.oid) AS p(policies) ON true"
            " WHERE relnamespace IN ('public'::regnamespace, 'partitions'::regnamespace) AND relkind IN ('r', 'p')"
        )
        with engine.connect() as connection:
            before = {tuple(map(str, row)) for row in connection.execute(look)}
        go_back_before(owner_url, "0010")
        with engine.connect() as connection:
            for name, enabled, forced, rights, policies in connection.execute(look):
                assert (enabled, forced, policies) == (False, False, None), name
                assert rights is None or "agent_factory_app" not in rights, name
                assert rights is None or "agent_factory_system" not in rights, name
            assert connection.scalar(text("SELECT count(*) FROM workflow_executions")) == 1
        migrate(owner_url)
        with engine.connect() as connection:
            assert {tuple(map(str, row)) for row in connection.execute(look)} == before
        engine.dispose()
        assert (await control_plane.show(execution_id))["status"] == "pending"

    def test_a_migration_without_the_right_is_one_sentence(self, settings: Settings, owner_url: URL) -> None:
        go_back_before(owner_url, "0010")
        result = run("api.migrate", DATABASE_URL=settings.database_url)
        assert result.returncode == 1
        assert "AGENT_FACTORY_DATABASE_OWNER_URL" in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster without any role of ours."""
    with running_postgres() as cluster:
        yield cluster


class TestNewCluster:
    """Where nobody made roles, migrations make them."""

    def test_many_databases_at_once_by_an_owner_who_may_make_roles(self, cluster: Cluster) -> None:
        names = ["first", "second", "third"]
        with connected(cluster.url("postgres")) as cursor:
            cursor.execute(f"CREATE ROLE maker LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            for name in names:
                cursor.execute(f"CREATE DATABASE {name} OWNER maker")
        urls = [cluster.url_of("maker", PASSWORD, name) for name in names]
        with ThreadPoolExecutor() as pool:
            results = list(pool.map(lambda url: run("api.migrate", DATABASE_URL=url), urls))
        assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3
        with connected(cluster.url("postgres")) as cursor:
            cursor.execute(
                "SELECT pg_has_role('agent_factory_app', 'agent_factory_system', 'USAGE'),"
                " pg_has_role('agent_factory_app', 'agent_factory_system', 'SET'),"
                " pg_has_role('maker', 'agent_factory_system', 'USAGE'), rolsuper, rolcanlogin"
                " FROM pg_roles WHERE rolname = 'agent_factory_app'"
            )
            assert cursor.fetchone() == (False, True, True, False, False)

    async def test_an_embedded_platform_from_before(self, cluster: Cluster, settings: Settings) -> None:
        """Its superuser owns the tables and has filled them; nobody had heard of other roles."""
        cluster.ensure_database("embedded")
        url = make_url(cluster.url("embedded", "postgresql+psycopg2"))
        migrate(url)
        go_back_before(url, "0010")
        with connected(cluster.url("embedded")) as cursor:
            cursor.execute("INSERT INTO organizations (slug, name) VALUES ('default', 'kept') RETURNING id")
            [kept] = cursor.fetchone()
        for _ in range(2):
            cluster.ensure_app_role()
            migrate(url)
        app = create_app(settings.model_copy(update={"database_url": cluster.app_url("embedded")}))
        async with app.router.lifespan_context(app):
            assert str(app.state.organization_id) == kept
