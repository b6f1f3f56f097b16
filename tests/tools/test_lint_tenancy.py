"""The linter of tenant scope finds what is planted, and nothing in the tree."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tools.lint_tenancy import LIST, ROOT, Allowed, Finding, Module, Tables, lint, read_list, read_tables

pytestmark = pytest.mark.unit

TABLES = Tables({"Agent": "agents", "Lease": "leases", "Organization": "organizations"}, frozenset({"Release"}))
PATH = "api/things/repository.py"


def findings(source: str, allowed: Allowed | None = None) -> list[Finding]:
    return list(Module(PATH, dedent(source), TABLES, allowed or Allowed()).findings())


def in_repository(body: str, more: str = "") -> list[Finding]:
    """Lint a method of a repository."""
    method = "\n".join(f"        {line}" for line in dedent(body).strip().splitlines())
    return findings(f"class Things:\n    async def find(self, thing, session):\n{method}\n{dedent(more)}")


def test_the_tree_is_clean() -> None:
    assert lint(ROOT, read_list(LIST)) == []


def test_the_models_are_known() -> None:
    tables = read_tables(ROOT / "api" / "models")
    assert tables.tenants["WorkflowExecution"] == "workflow_executions"
    assert tables.tenants["Organization"] == "organizations"
    assert "Release" in tables.others
    assert len(tables.tenants) >= 17


@pytest.mark.parametrize(
    "body",
    [
        "await session.scalar(select(Agent).where(Agent.id == thing))",
        "await session.execute(select(Agent.id, Agent.name))",
        "await session.execute(update(Agent).where(Agent.id == thing).values(name='x'))",
        "await session.execute(delete(Agent))",
        "await session.execute(insert(Agent).values(id=thing))",
        "await session.get(Agent, thing)",
        # The organisation of one table compared with that of another binds neither.
        "await session.execute(select(Agent).join(Lease, Lease.organization_id == Agent.organization_id))",
        "table = Agent\nawait session.execute(select(table.name))",
        "table = thing.__table__\nawait session.execute(delete(table))",
        "await session.execute(text('SELECT name FROM agents WHERE id = :id'), {'id': thing})",
        "await session.execute(text('UPDATE agents SET name = :n WHERE organization_id IS NOT NULL'))",
        "await session.execute(text(f'DELETE FROM {thing}'))",
        "await session.execute(select(Organization.id).where(Organization.slug == thing))",
        # One that names it excuses no other.
        "a = select(Agent).where(Agent.organization_id == self._id)\nb = select(Lease)\nawait session.execute(b)",
        "if thing:\n    await session.execute(delete(Agent))",
        "async for row in session.stream(select(Agent)):\n    print(row)",
        "return [row for row in await session.scalars(select(Agent))]",
        # A column that is only shown.
        "await session.execute(select(Agent.organization_id).where(Agent.id == thing))",
    ],
)
def test_a_query_without_organisation(body: str) -> None:
    [found] = in_repository(body)
    assert (found.path, "must name the organisation" in found.message) == (PATH, True)
    assert "Things.find" in found.message


@pytest.mark.parametrize(
    "body",
    [
        "await session.scalar(select(Agent).where(Agent.organization_id == self._id, Agent.id == thing))",
        "await session.execute(insert(Agent).values(organization_id=self._id, id=thing))",
        "rows = [{'organization_id': self._id, 'id': thing}]\nawait session.execute(insert(Agent), rows)",
        "query = select(Agent)\nquery = query.where(Agent.organization_id == self._id)\nawait session.execute(query)",
        "await session.execute(text('SELECT name FROM agents WHERE organization_id = :o'), {'o': self._id})",
        "await session.execute(select(Release))",
        "await session.execute(delete(Release).where(Release.number < thing))",
        "await session.execute(select(func.clock_timestamp()))",
        "await session.execute(select(Organization.name).where(Organization.id == self._id))",
        "agent, mine = Agent, self._id\nawait session.execute(select(agent.id).where(agent.organization_id == mine))",
    ],
)
def test_a_query_of_an_organisation(body: str) -> None:
    assert in_repository(body) == []


SELECTS = "def _agents():\n    return select(Agent)\n"


def test_a_private_helper_leaves_it_to_its_users() -> None:
    assert in_repository("await session.execute(_agents().where(Agent.organization_id == self._id))", SELECTS) == []
    [found] = in_repository("await session.execute(_agents().where(Agent.id == thing))", SELECTS)
    assert "Things.find" in found.message


def test_a_public_helper_does_not() -> None:
    body = "await session.execute(agents().where(Agent.organization_id == self._id))"
    [found] = in_repository(body, SELECTS.replace("_agents", "agents"))
    assert "'agents'" in found.message


def test_a_private_helper_without_users() -> None:
    [found] = findings(SELECTS)
    assert "'_agents'" in found.message


def test_constants_and_conditions_of_the_module() -> None:
    module = """
        _OF = (Agent.organization_id == bindparam("organization"),)
        _BOUND = select(Agent).where(*_OF)
        _OPEN = select(Agent).where(Agent.id == bindparam("id"))

        async def bound(session):
            await session.execute(_BOUND)

        async def unbound(session):
            await session.execute(_OPEN)
    """
    [found] = findings(module)
    assert "'unbound'" in found.message


def test_conditions_of_the_class() -> None:
    more = """
        class Others:
            def _mine(self):
                return (Agent.organization_id == self._id,)

            def _all(self):
                return (Agent.id != None,)

            async def good(self, session):
                await session.execute(select(Agent).where(*self._mine()))

            async def bad(self, session):
                await session.execute(select(Agent).where(*self._all()))
    """
    [found] = findings(more)
    assert "Others.bad" in found.message


@pytest.mark.parametrize(
    "body",
    [
        "async with database.system() as session:\n    pass",
        "async with self._tools.database.system() as session:\n    pass",
        "work = database.system",
        "async with database.system_without_transaction() as connection:\n    pass",
        "async with database.engine.connect() as connection:\n    pass",
        "engine = create_async_engine(url)",
        "connection = await asyncpg.connect(url)",
        "def endpoint(session: SystemTransaction): ...",
        "session.execute(f'SET ROLE {SYSTEM_ROLE}')",
    ],
)
def test_seeing_every_organisation(body: str) -> None:
    source = "async def work(database):\n" + "\n".join(f"    {line}" for line in body.splitlines())
    assert any("may see every organisation" in found.message for found in findings(source))
    allowed = Allowed(system={PATH: "for a reason"})
    assert findings(source, allowed) == []
    assert list(allowed.stale()) == []


def test_the_list_excuses_what_it_names_only() -> None:
    source = "async def one(s):\n    await s.get(Agent, 1)\n\nasync def two(s):\n    await s.get(Agent, 1)\n"
    [found] = findings(source, Allowed(queries={PATH: {"one": "for a reason"}}))
    assert "'two'" in found.message
    assert findings(source, Allowed(queries={PATH: {"*": "for a reason"}})) == []
    assert len(findings(source, Allowed(queries={PATH: {"one": "", "two": ""}}))) == 2


def test_what_nothing_needs_leaves_the_list(tmp_path: Path) -> None:
    (tmp_path / "api" / "models").mkdir(parents=True)
    allowed = Allowed(system={PATH: "was needed once"}, queries={PATH: {"gone": "was needed once"}})
    assert {found.message.split("'")[1] for found in lint(tmp_path, allowed)} == {"system", "gone"}
