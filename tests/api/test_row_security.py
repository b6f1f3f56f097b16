"""Row-level security: PostgreSQL itself keeps organisations apart, whatever a query says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from api.database import Database, narrow
from api.migrate import VERSION_TABLE
from api.models import Agent, Base
from api.settings import Settings
from tests.api.control_plane import ControlPlane
from tests.api.furnishing import AGENT, furnish

pytestmark = pytest.mark.platform

TENANTS = {
    table.name: "organization_id" for table in Base.metadata.sorted_tables if "organization_id" in table.columns
} | {"organizations": "id"}
"""Table -> the column that says whose a row is."""
OF_NOBODY = {
    "releases": "numbers of states of what Airflow loads; the files are in release_artifacts",
    VERSION_TABLE: "which migration was the last",
}
OF_PEOPLE = {
    "users": "people, members of several organisations: a transaction sees those of its own",
    "user_identities": "of people",
    "user_sessions": "of people",
    "refresh_tokens": "of people",
    "password_resets": "of people",
    "attempts": "tries to log in, counted before it is known who calls",
    "signing_keys": "the installation's",
    "oidc_flows": "of people, before they have logged in",
    "upkeep_runs": "the installation's",
    "platform_audit_log": "the installation's",
}
"""Tables that a transaction of an organisation cannot write, nor read but for its members."""
APPEND_ONLY = {"audit_log"}
"""Tables whose rows the application may add and read, not change."""
DENIED, REFUSED, UNIQUE, FOREIGN = "42501", "42501", "23505", "23503"
CURRENT = "((NULLIF(current_setting('agent_factory.organization_id'::text, true), ''::text))::uuid)"
RIGHTS = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER, MAINTAIN"


def code(error: DBAPIError) -> str:
    """Return PostgreSQL's code of an error."""
    return str(getattr(error.orig, "sqlstate", None))


async def fails(session: AsyncSession, statement: str, **values: Any) -> str:
    """Return the code with which a statement fails; the transaction goes on."""
    with pytest.raises(DBAPIError) as caught:
        async with session.begin_nested():
            await session.execute(text(statement), values)
    return code(caught.value)


async def owners(session: AsyncSession, table: str) -> set[UUID]:
    """Return whose rows a query without any condition sees."""
    return set(await session.scalars(text(f"SELECT {TENANTS[table]} FROM {table}")))


@pytest.fixture
async def both(control_plane: ControlPlane) -> tuple[UUID, UUID]:
    """Two organisations with the same ids in every table: ours and theirs."""
    async with control_plane.database.system() as session:
        return await furnish(session, "ours"), await furnish(session, "theirs")


@pytest.fixture
async def one_connection(settings: Settings) -> AsyncIterator[Database]:
    """A pool of one connection: each transaction has the one of the transaction before."""
    database = Database(settings.model_copy(update={"database_pool_size": 1}))
    yield database
    await database.close()


class TestCatalogue:
    async def rows(self, control_plane: ControlPlane, query: str) -> list[tuple[Any, ...]]:
        async with control_plane.database.without_organization() as session:
            return [tuple(row) for row in await session.execute(text(query))]

    async def test_every_table_is_protected_or_has_a_reason(self, control_plane: ControlPlane) -> None:
        found = await self.rows(
            control_plane,
            "SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')",
        )
        assert {name for name, is_protected in found if is_protected} == {*TENANTS, "users"}
        assert {name for name, is_protected in found if not is_protected} == {*OF_NOBODY, *OF_PEOPLE} - {"users"}

    async def test_with_exactly_these_policies(self, control_plane: ControlPlane) -> None:
        found = await self.rows(
            control_plane,
            "SELECT tablename, policyname, permissive, CAST(roles AS text), cmd, qual, with_check FROM pg_policies"
            " WHERE schemaname = 'public' AND tablename <> 'users'",
        )
        assert sorted(found) == sorted(
            policy
            for table, column in TENANTS.items()
            for policy in (
                (table, "of_organization", "PERMISSIVE", "{public}", "ALL", *[f"({column} = {CURRENT[1:-1]})"] * 2),
                (table, "of_system", "PERMISSIVE", "{agent_factory_system}", "ALL", "true", "true"),
            )
        )

    async def test_partitions_are_nobodys_but_the_systems(self, control_plane: ControlPlane) -> None:
        found = await self.rows(
            control_plane,
            f"SELECT relname, relrowsecurity, has_table_privilege('agent_factory_app', oid, '{RIGHTS}'),"
            " (SELECT array_agg(policyname || ' ' || CAST(roles AS text)) FROM pg_policies"
            "  WHERE schemaname = 'partitions' AND tablename = relname)"
            " FROM pg_class WHERE relnamespace = 'partitions'::regnamespace AND relkind IN ('r', 'p')",
        )
        assert len(found) == 10
        for name, is_protected, app_may, policies in found:
            assert (is_protected, app_may, policies) == (True, False, ["of_system {agent_factory_system}"]), name

    async def test_the_app_has_no_rights_but_to_rows(self, control_plane: ControlPlane) -> None:
        [role] = await self.rows(
            control_plane,
            "SELECT current_user, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,"
            " EXISTS (SELECT FROM pg_shdepend WHERE refobjid = pg_roles.oid AND deptype = 'o'),"
            " has_schema_privilege('public', 'CREATE'), has_schema_privilege('partitions', 'USAGE'),"
            " (SELECT bool_or(has_function_privilege(oid, 'EXECUTE')) FROM pg_proc"
            "  WHERE pronamespace = 'partitions'::regnamespace)"
            " FROM pg_roles WHERE rolname = current_user",
        )
        assert role == ("agent_factory_app", *[False] * 9)

    async def test_every_reference_stays_in_its_organisation(self, control_plane: ControlPlane) -> None:
        found = await self.rows(
            control_plane,
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
            " AND connamespace = 'public'::regnamespace AND confrelid <> 'users'::regclass"
            f" AND conrelid::regclass::text <> ALL('{{{','.join(OF_PEOPLE)}}}')",
        )
        assert len(found) > 20
        for name, definition in found:
            own, others = definition.split(" REFERENCES ")
            assert own.startswith("FOREIGN KEY (organization_id"), name
            assert others.startswith("organizations(id)") or "(organization_id, " in others, name


class TestWithoutOrganization:
    async def test_nothing_is_seen_and_nothing_changed(self, control_plane: ControlPlane, both: Any) -> None:
        async with control_plane.database.without_organization() as session:
            for table, column in TENANTS.items():
                assert await owners(session, table) == set(), table
                if table in APPEND_ONLY:
                    continue
                changed: Any = await session.execute(text(f"UPDATE {table} SET {column} = {column}"))
                assert changed.rowcount == 0, table

    async def test_nothing_is_written(self, control_plane: ControlPlane, both: tuple[UUID, UUID]) -> None:
        async with control_plane.database.without_organization() as session:
            values = {"o": both[0]}
            statement = "INSERT INTO variables (organization_id, name, value) VALUES (:o, 'new', '1')"
            assert await fails(session, statement, **values) == REFUSED


class TestOrganization:
    async def test_sees_its_own_rows(self, control_plane: ControlPlane, both: tuple[UUID, UUID]) -> None:
        for organization_id in both:
            async with control_plane.database.transaction(organization_id) as session:
                for table in TENANTS:
                    assert await owners(session, table) == {organization_id}, table

    async def test_changes_and_removes_its_own(self, control_plane: ControlPlane, both: tuple[UUID, UUID]) -> None:
        ours, theirs = both
        async with control_plane.database.system() as session:
            before = {table: (await session.scalars(text(f"SELECT count(*) FROM {table}"))).one() for table in TENANTS}
        async with control_plane.database.transaction(ours) as session:
            for table in reversed(Base.metadata.sorted_tables):
                if "organization_id" in table.columns and table.name not in APPEND_ONLY:
                    await session.execute(text(f"UPDATE {table.name} SET organization_id = organization_id"))
                    await session.execute(text(f"DELETE FROM {table.name}"))
        async with control_plane.database.system() as session:
            for table in TENANTS.keys() - {"organizations"} - APPEND_ONLY:
                assert await owners(session, table) == {theirs}, table
                left = (await session.scalars(text(f"SELECT count(*) FROM {table}"))).one()
                assert left == before[table] / 2, table

    async def test_writes_no_row_of_another(self, control_plane: ControlPlane, both: tuple[UUID, UUID]) -> None:
        """Not even one that is there: that it is would be learnt from a unique key."""
        ours, theirs = both
        async with control_plane.database.system() as session:
            rows = {
                table: await session.scalar(
                    text(f"SELECT CAST(to_jsonb(t) AS text) FROM {table} t WHERE {column} = :theirs LIMIT 1"),
                    {"theirs": theirs},
                )
                for table, column in TENANTS.items()
            }
        async with control_plane.database.transaction(ours) as session:
            for table, row in rows.items():
                column = TENANTS[table]
                names = ", ".join(each.name for each in Base.metadata.tables[table].columns if each.computed is None)
                insert = (
                    f"INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE"
                    f" SELECT {names} FROM jsonb_populate_record(CAST(NULL AS {table}), CAST(:row AS jsonb))"
                )
                assert await fails(session, insert, row=row) == REFUSED, table
                assert await fails(session, f"{insert} ON CONFLICT DO NOTHING", row=row) == REFUSED, table
                move = f"UPDATE {table} SET {column} = :theirs"
                assert await fails(session, move, theirs=theirs) == REFUSED, table

    async def test_cannot_refer_to_a_row_of_another(self, control_plane: ControlPlane, both: tuple[UUID, UUID]) -> None:
        """One that is another's is refused in the same words as one that is nobody's."""
        ours, theirs = both
        secret, nobodys = uuid4(), uuid4()
        async with control_plane.database.transaction(theirs) as session:
            session.add(Agent(organization_id=theirs, id=secret, workflow_id="secret", name="x"))
        statement = text(
            "INSERT INTO webhook_routes (organization_id, path, method, agent_id, config)"
            " VALUES (:ours, 'new', 'POST', :agent, '{}')"
        )
        told = []
        for agent in (secret, nobodys):
            with pytest.raises(IntegrityError) as caught:
                async with control_plane.database.transaction(ours) as session:
                    await session.execute(statement, {"ours": ours, "agent": agent})
            assert code(caught.value) == FOREIGN
            told.append(str(caught.value.orig).replace(str(agent), "<agent>"))
        assert told[0] == told[1]

    async def test_the_same_keys_in_another_are_no_conflict(
        self, control_plane: ControlPlane, both: tuple[UUID, UUID]
    ) -> None:
        name = {"name": "taken"}
        for organization_id in both:
            async with control_plane.database.transaction(organization_id) as session:
                insert = text("INSERT INTO variables (organization_id, name, value) VALUES (:o, :name, '1')")
                await session.execute(insert, {"o": organization_id, **name})
        async with control_plane.database.transaction(both[0]) as session:
            again = "INSERT INTO variables (organization_id, name, value) VALUES (:o, :name, '1')"
            assert await fails(session, again, o=both[0], **name) == UNIQUE

    async def test_sees_its_members_only_and_changes_no_person(
        self, control_plane: ControlPlane, both: tuple[UUID, UUID]
    ) -> None:
        stranger = uuid4()
        async with control_plane.database.system() as session:
            await session.execute(
                text("INSERT INTO users (id, email, name) VALUES (:id, 's@x.test', 'S')"), {"id": stranger}
            )
        async with control_plane.database.transaction(both[0]) as session:
            assert list(await session.scalars(text("SELECT email FROM users"))) == ["same@x.test"]
            for table in OF_PEOPLE.keys() - {"users"}:
                assert await fails(session, f"SELECT FROM {table}") == DENIED, table
            for statement in ("UPDATE users SET name = 'x'", "DELETE FROM users", "INSERT INTO users DEFAULT VALUES"):
                assert await fails(session, statement) == DENIED, statement
        async with control_plane.database.without_organization() as session:
            assert list(await session.scalars(text("SELECT email FROM users"))) == []

    async def test_makes_and_removes_no_organisation(
        self, control_plane: ControlPlane, both: tuple[UUID, UUID]
    ) -> None:
        async with control_plane.database.transaction(both[0]) as session:
            assert await fails(session, "INSERT INTO organizations (slug, name) VALUES ('new', 'x')") == DENIED
            assert await fails(session, "DELETE FROM organizations") == DENIED


class TestConnections:
    """One connection serves all: what a transaction was ends with it."""

    SEEN = text("SELECT organization_id FROM agents WHERE id = :id")

    async def seen(self, session: AsyncSession) -> set[UUID]:
        """The same statement each time, so prepared once."""
        return set(await session.scalars(self.SEEN, {"id": AGENT}))

    async def test_the_next_transaction_is_its_own(self, one_connection: Database, both: tuple[UUID, UUID]) -> None:
        ours, theirs = both
        for _ in range(3):
            async with one_connection.transaction(ours) as session:
                assert await self.seen(session) == {ours}
            async with one_connection.without_organization() as session:
                assert await self.seen(session) == set()
            async with one_connection.system() as session:
                assert await self.seen(session) == {ours, theirs}
            async with one_connection.transaction(theirs) as session:
                assert await self.seen(session) == {theirs}
            async with one_connection.without_organization() as session:
                assert await self.seen(session) == set()

    @pytest.mark.parametrize("as_system", [True, False])
    async def test_also_after_a_failure(
        self, one_connection: Database, both: tuple[UUID, UUID], as_system: bool
    ) -> None:
        for statement in ("SELECT 1 / 0", "SELECT 1"):
            with suppress(DBAPIError, RuntimeError):
                async with one_connection.system() if as_system else one_connection.transaction(both[0]) as session:
                    await session.execute(text(statement))
                    raise RuntimeError
            async with one_connection.without_organization() as session:
                assert await self.seen(session) == set()
                assert await session.scalar(text("SELECT current_user")) == "agent_factory_app"

    async def test_also_after_work_outside_of_transactions(self, one_connection: Database, both: Any) -> None:
        with suppress(DBAPIError):
            async with one_connection.system_without_transaction() as connection:
                assert await connection.scalar(text("SELECT current_user")) == "agent_factory_system"
                await connection.execute(text("SELECT 1 / 0"))
        async with one_connection.without_organization() as session:
            assert await self.seen(session) == set()
            assert await session.scalar(text("SELECT current_user")) == "agent_factory_app"

    async def test_the_system_narrowed(self, one_connection: Database, both: tuple[UUID, UUID]) -> None:
        ours, theirs = both
        async with one_connection.system() as session:
            assert await self.seen(session) == {ours, theirs}
            await narrow(session, ours)
            assert await self.seen(session) == {ours}
            statement = "UPDATE agents SET organization_id = :theirs"
            assert await fails(session, statement, theirs=theirs) == REFUSED
            assert await session.scalar(text("SELECT current_user")) == "agent_factory_app"


class TestRights:
    @pytest.mark.parametrize(
        "statement",
        [
            "ALTER TABLE agents DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE agents NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY of_organization ON agents",
            "CREATE POLICY mine ON agents USING (true)",
            "SET ROLE agent_factory_owner",
            "SET SESSION AUTHORIZATION agent_factory",
            "SET session_replication_role = replica",
            "TRUNCATE variables",
            "CREATE TABLE mine (id integer)",
            "SELECT * FROM partitions.workflow_executions_default",
            "SELECT partitions.make('workflow_executions', '2040-01-01')",
            "ALTER ROLE agent_factory_app BYPASSRLS",
            "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS 'x'",
        ],
    )
    async def test_refused(self, control_plane: ControlPlane, both: tuple[UUID, UUID], statement: str) -> None:
        async with control_plane.database.transaction(both[0]) as session:
            assert await fails(session, statement) in (DENIED, "42501")

    async def test_row_security_off_shows_nothing_more(self, control_plane: ControlPlane, both: Any) -> None:
        async with control_plane.database.transaction(both[0]) as session:
            await session.execute(text("SET LOCAL row_security = off"))
            assert await fails(session, "SELECT * FROM agents") == DENIED


class TestPartitionsWithRights:
    @pytest.fixture
    def database_url(self, fresh_database_url: str) -> str:
        return fresh_database_url

    async def test_a_partition_with_rights_shows_nothing(
        self, control_plane: ControlPlane, both: tuple[UUID, UUID], admin: Any
    ) -> None:
        """As default privileges of a database may give them."""
        admin.execute("GRANT USAGE ON SCHEMA partitions TO agent_factory_app")
        admin.execute("GRANT ALL ON ALL TABLES IN SCHEMA partitions TO agent_factory_app")
        async with control_plane.database.transaction(both[0]) as session:
            query = text("SELECT * FROM partitions.execution_steps_default")
            assert (await session.execute(query)).all() == []
        async with control_plane.database.system() as session:
            assert len((await session.execute(query)).all()) == 2


INVALID, IN_USE = "22023", "55006"


class TestPartitions:
    """What the system's role may do to partitions by the owner's functions, and no more."""

    @pytest.mark.parametrize(
        ("table", "month"),
        [
            ("agents", "2040-01-01"),
            ("workflow_executions; DROP TABLE agents", "2040-01-01"),
            ("public.workflow_executions", "2040-01-01"),
            (None, "2040-01-01"),
            ("execution_steps", "2040-01-02"),
            ("execution_steps", "1969-12-01"),
            ("execution_steps", None),
        ],
    )
    @pytest.mark.parametrize("function", ["make", "remove"])
    async def test_refused(
        self, control_plane: ControlPlane, function: str, table: str | None, month: str | None
    ) -> None:
        values = ", ".join("NULL" if value is None else f"'{value}'" for value in (table, month))
        async with control_plane.database.system() as session:
            assert await fails(session, f"SELECT partitions.{function}({values})") == INVALID

    async def test_made_removed_and_both_again(self, control_plane: ControlPlane) -> None:
        for function in ("make", "make", "remove", "remove"):
            async with control_plane.database.system() as session:
                for table in ("workflow_executions", "execution_steps"):
                    await session.execute(text(f"SELECT partitions.{function}('{table}', '2040-01-01')"))
                    name = f"partitions.{table}_2040_01"
                    found = await session.scalar(text(f"SELECT to_regclass('{name}') IS NOT NULL"))
                    assert found is (function == "make")

    async def test_what_is_in_use_is_not_removed(self, control_plane: ControlPlane) -> None:
        await control_plane.publish()
        execution_id = await control_plane.execute()
        async with control_plane.database.system() as session:
            month = await session.scalar(text("SELECT CAST(date_trunc('month', now(), 'UTC') AS date)"))
            for table in ("workflow_executions", "execution_steps"):
                assert await fails(session, f"SELECT partitions.remove('{table}', '{month}')") == IN_USE
        assert (await control_plane.show(execution_id))["status"] == "pending"

    async def test_other_names_on_the_search_path_are_not_taken(self, control_plane: ControlPlane) -> None:
        async with control_plane.database.system() as session:
            await session.execute(text("CREATE TEMPORARY TABLE workflow_executions (id uuid) ON COMMIT DROP"))
            await session.execute(text("SELECT partitions.make('workflow_executions', '2041-01-01')"))
            parent = text(
                "SELECT CAST(inhparent AS regclass) = CAST('public.workflow_executions' AS regclass) FROM pg_inherits"
                " WHERE inhrelid = CAST('partitions.workflow_executions_2041_01' AS regclass)"
            )
            assert await session.scalar(parent)
            await session.execute(text("SELECT partitions.remove('workflow_executions', '2041-01-01')"))
