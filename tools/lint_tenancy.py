"""Fails on a query path without tenant scope: ``python tools/lint_tenancy.py``, part of ``make lint``.

Two rules, over the syntax of ``api/``:

1. What sees every organisation (``Database.system()``, ``SystemTransaction``, the engine itself, a connection of one's
   own) is used only in the modules that ``tools/tenancy.toml`` lists, each with its reason.
2. Every query of a tenant's table names the organisation: its statement, or what it is put together from, compares
   ``organization_id`` with a value, or writes it. What a private function or constant leaves open its users must
   say. The functions and classes that look at every organisation are listed in ``tools/tenancy.toml`` too.

It reads names, not types: it finds what was forgotten, not what was hidden. Row-level security is behind it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIST = ROOT / "tools" / "tenancy.toml"
SKIPPED = {"migrations", "models"}

SEES_ALL = {"system", "system_without_transaction"}
"""Methods that see every organisation."""
ENGINES = {"create_engine", "create_async_engine", "connect", "engine"}
"""Ways round the class that sets the organisation."""
WRITES = {"update", "delete", "insert"}
QUERIES = {"select", *WRITES}
RAW = {"text", "execute", "exec_driver_sql", "fetch", "fetchrow", "fetchval"}
KEY = "organization_id"
_TABLE = re.compile(r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|ONLY)\s+(?:public\.|partitions\.)?(\w+|\{)", re.IGNORECASE)
_BOUND = re.compile(rf"\b{KEY}\s*=\s*(?::\w+|\$\d+|%s)")


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong where."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class Tables:
    """The tables of ``api/models``.

    :param tenants: Class -> name of each table with rows of tenants.
    :param others: Classes of the others.
    """

    tenants: dict[str, str]
    others: frozenset[str]


@dataclass
class Allowed:
    """The list. Entries that nothing needs any more are findings too.

    :param system: Module -> why it sees every organisation.
    :param queries: Module -> function, method, class or constant -> why its queries do; ``*`` for a whole module.
    """

    system: dict[str, str] = field(default_factory=dict)
    queries: dict[str, dict[str, str]] = field(default_factory=dict)
    used: set[tuple[str, str]] = field(default_factory=set)

    def lets_see_all(self, path: str) -> bool:
        """Tell whether a module may see every organisation."""
        return self._use(path, "system", self.system.get(path))

    def lets_query(self, path: str, name: str) -> bool:
        """Tell whether a unit's queries may name no organisation."""
        listed = self.queries.get(path, {})
        return any(self._use(path, key, listed.get(key)) for key in (name, name.partition(".")[0], "*"))

    def _use(self, path: str, key: str, reason: str | None) -> bool:
        if reason:
            self.used.add((path, key))
        return bool(reason)

    def stale(self) -> Iterator[Finding]:
        """Return the entries that were not used."""
        listed = {(path, "system") for path in self.system}
        listed |= {(path, name) for path, names in self.queries.items() for name in names}
        for path, name in sorted(listed - self.used):
            yield Finding(path, 1, f"the entry {name!r} of tools/tenancy.toml is used by nothing; remove it")


Leaf = ast.AST
"""A statement without a body, or the head of one with a body."""


@dataclass
class Unit:
    """A function, a method or a constant of a module."""

    name: str
    leaves: list[Leaf]

    @property
    def owner(self) -> str:
        """The class of a method, with a dot; "" for all else."""
        return self.name.rpartition(".")[0] + "." if "." in self.name else ""

    @property
    def is_private(self) -> bool:
        """Whether only this module uses it."""
        name = self.name.rpartition(".")[2]
        return name.startswith("_") and not name.startswith("__")

    def assigning(self, name: str) -> list[Leaf]:
        """Return the leaves that give a local name a value."""
        return [leaf for leaf in self.leaves if name in _targets(leaf)]


class Module:
    """One module of ``api/``."""

    def __init__(self, path: str, source: str, tables: Tables, allowed: Allowed) -> None:
        self._path = path
        self._tables = tables
        self._allowed = allowed
        self._tree = ast.parse(source)
        self._units = {unit.name: unit for unit in _units(self._tree)}

    def findings(self) -> Iterator[Finding]:
        """Return what breaks the rules."""
        yield from self._seeing_all()
        visited: set[tuple[str, int]] = set()
        for unit in self._units.values():
            for leaf in unit.leaves:
                if (what := self._asks(leaf, unit)) and not self._is_scoped(leaf, unit):
                    yield from self._open(unit, leaf, what, visited)

    def _seeing_all(self) -> Iterator[Finding]:
        for node in ast.walk(self._tree):
            what = _sees_all(node)
            if what and not self._allowed.lets_see_all(self._path):
                rule = "only modules that tools/tenancy.toml lists may see every organisation"
                yield Finding(self._path, getattr(node, "lineno", 1), f"{rule}; got {what}")

    def _open(self, unit: Unit, leaf: Leaf, what: str, visited: set[tuple[str, int]]) -> Iterator[Finding]:
        """Pass what a query leaves open on to the users of a private unit."""
        line = getattr(leaf, "lineno", 1)
        if (unit.name, line) in visited or self._allowed.lets_query(self._path, unit.name):
            return
        visited.add((unit.name, line))
        users = list(self._users(unit)) if unit.is_private else []
        for user, used_in in users:
            if not self._is_scoped(used_in, user):
                yield from self._open(user, used_in, what, visited)
        if not users:
            message = f"a query must name the organisation ({KEY} = ...); got one of {what} in {unit.name!r}"
            yield Finding(self._path, line, message)

    def _users(self, used: Unit) -> Iterator[tuple[Unit, Leaf]]:
        for unit in self._units.values():
            for leaf in unit.leaves:
                if unit is not used and used.name in self._references(leaf, unit):
                    yield unit, leaf

    def _asks(self, leaf: Leaf, unit: Unit) -> str | None:
        """Return which table of tenants a leaf queries; None if it queries none."""
        for call in (node for node in ast.walk(leaf) if isinstance(node, ast.Call)):
            name = _name_of(call.func)
            if name in RAW and (table := self._raw_table(call)):
                return table
            asks = name in QUERIES and isinstance(call.func, ast.Name)
            gets = name == "get" and bool(call.args) and self._models(call.args[0], unit) != []
            if asks and (table := self._queried(name, call, leaf, unit)):
                return table
            if gets:
                return self._models(call.args[0], unit)[0]
        return None

    def _queried(self, name: str, call: ast.Call, leaf: Leaf, unit: Unit) -> str | None:
        models = self._models(call.args[0] if name in WRITES and call.args else leaf, unit)
        if models:
            return models[0]
        is_known = call.args and isinstance(call.args[0], ast.Name) and call.args[0].id in self._tables.others
        return None if is_known or name not in WRITES else "a table that cannot be told"

    def _models(self, node: ast.AST, unit: Unit) -> list[str]:
        """Return the tenants' models that an expression names, also by a local name."""
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        known = [name for name in names if name in self._tables.tenants]
        aliased = [model for name in names for model in self._aliased(name, unit)]
        return known + aliased

    def _aliased(self, name: str, unit: Unit) -> Iterator[str]:
        for leaf in unit.assigning(name):
            value = leaf.value if isinstance(leaf, ast.Assign) else None
            for each in value.elts if isinstance(value, ast.Tuple) else [value]:
                if isinstance(each, ast.Name) and each.id in self._tables.tenants:
                    yield each.id

    def _raw_table(self, call: ast.Call) -> str | None:
        for table in _TABLE.findall(_sql(call)):
            if table in self._tables.tenants.values() or table == "{":
                return "a table that cannot be told" if table == "{" else str(table)
        return None

    def _is_scoped(self, leaf: Leaf, unit: Unit) -> bool:
        """Tell whether a leaf, what uses its result in the unit, or what it is put together from binds a query."""
        begin = [leaf, *(each for each in unit.leaves if _targets(leaf) & _names(each))]
        seen: set[int] = set()
        waiting = [(each, unit) for each in begin]
        while waiting:
            each, of = waiting.pop()
            if id(each) in seen:
                continue
            seen.add(id(each))
            if self._binds(each):
                return True
            for name in _names(each):
                waiting += [(found, of) for found in of.assigning(name)]
            for name in self._references(each, of):
                waiting += [(found, self._units[name]) for found in self._units[name].leaves]
        return False

    def _references(self, leaf: Leaf, unit: Unit) -> set[str]:
        """Return the units of this module that a leaf names."""
        names = _names(leaf) | {unit.owner + name for name in _own_attributes(leaf)}
        return names & self._units.keys()

    def _binds(self, leaf: Leaf) -> bool:
        return any(self._is_binding(node) for node in ast.walk(leaf))

    def _is_binding(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
            sides = [self._is_column(side) for side in (node.left, node.comparators[0])]
            return any(sides) and not all(sides)
        if isinstance(node, ast.keyword):
            return node.arg == KEY and not self._is_column(node.value)
        if isinstance(node, ast.Dict):
            return any(isinstance(key, ast.Constant) and key.value == KEY for key in node.keys)
        return isinstance(node, ast.Call) and _name_of(node.func) in RAW and bool(_BOUND.search(_sql(node)))

    def _is_column(self, node: ast.AST) -> bool:
        """Tell whether an expression is the column with the organisation, of a model or of a local name for one."""
        if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
            return False
        owner, column = node.value.id, node.attr
        if owner == "Organization":
            return column == "id"
        of_instance = owner in {"self", "entry", "left", "row", "caller", "version"}
        return column == KEY and not of_instance


def _sees_all(node: ast.AST) -> str | None:
    """Return the way to every organisation that a node takes."""
    if isinstance(node, ast.Attribute) and node.attr in SEES_ALL:
        return f".{node.attr}()" if _name_of(node.value) != "machine" else None
    if isinstance(node, ast.Attribute) and node.attr == "engine" and "database" in (_name_of(node.value) or ""):
        return "the engine of a Database"
    if isinstance(node, ast.Name) and node.id in {"SystemTransaction", "SYSTEM_ROLE"}:
        return node.id
    if isinstance(node, ast.Call) and (name := _name_of(node.func)) in ENGINES:
        owner = _name_of(node.func.value) if isinstance(node.func, ast.Attribute) else None
        if name != "connect" or owner in {"asyncpg", "psycopg2"}:
            return f"{name}()"
    return None


def _units(tree: ast.Module) -> Iterator[Unit]:
    rest: list[Leaf] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Unit(node.name, list(_leaves(node.body)))
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                name = getattr(member, "name", None) or next(iter(_targets(member)), "body")
                yield Unit(f"{node.name}.{name}", list(_leaves([member])))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and (names := _targets(node)):
            yield Unit(min(names), [node])
        else:
            rest += _leaves([node])
    yield Unit("<module>", rest)


def _leaves(body: Iterable[ast.stmt]) -> Iterator[Leaf]:
    """Return the statements of a body, those in other statements too; of these the heads."""
    for statement in body:
        inner = [part for name in ("body", "orelse", "finalbody") for part in getattr(statement, name, [])]
        handlers = getattr(statement, "handlers", []) + getattr(statement, "cases", [])
        if not inner:
            yield statement
            continue
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            head = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.expr | ast.withitem)]
            yield from head
        yield from _leaves(inner)
        for handler in handlers:
            yield from _leaves(handler.body)


def _targets(leaf: Leaf) -> set[str]:
    if isinstance(leaf, ast.Assign):
        nodes: list[ast.expr] = leaf.targets
    elif isinstance(leaf, ast.AnnAssign | ast.AugAssign):
        nodes = [leaf.target]
    else:
        return set()
    return {each.id for node in nodes for each in ast.walk(node) if isinstance(each, ast.Name)}


def _names(leaf: Leaf) -> set[str]:
    loaded = (node for node in ast.walk(leaf) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load))
    return {node.id for node in loaded}


def _own_attributes(leaf: Leaf) -> set[str]:
    return {
        node.attr
        for node in ast.walk(leaf)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    }


def _name_of(node: ast.AST) -> str | None:
    return getattr(node, "attr", None) or getattr(node, "id", None)


def _sql(call: ast.Call) -> str:
    """Return the text of a raw query; ``{`` stands for each value that is put into it."""
    parts: list[str] = []
    for argument in call.args[:1]:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts.append("".join(str(v.value) if isinstance(v, ast.Constant) else "{" for v in node.values))
    return " ".join(parts)


def read_tables(folder: Path) -> Tables:
    """Return the tables that the models describe."""
    tenants, others = {"Organization": "organizations"}, set()
    for path in sorted(folder.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                fields = {target for statement in node.body for target in _targets(statement)}
                table = next((_constant(each) for each in node.body if "__tablename__" in _targets(each)), None)
                if table and KEY in fields:
                    tenants[node.name] = table
                elif node.name not in tenants:
                    others.add(node.name)
    return Tables(tenants, frozenset(others))


def _constant(node: ast.stmt) -> str:
    value = getattr(node, "value", None)
    return str(value.value) if isinstance(value, ast.Constant) else ""


def read_list(path: Path) -> Allowed:
    """Return the list of what may see every organisation."""
    content = tomllib.loads(path.read_text())
    return Allowed(content.get("system", {}), content.get("queries", {}))


def lint(root: Path, allowed: Allowed) -> list[Finding]:
    """Return the findings in ``api/`` under a folder."""
    tables = read_tables(root / "api" / "models")
    found: list[Finding] = []
    for path in sorted((root / "api").rglob("*.py")):
        if not SKIPPED & set(path.relative_to(root / "api").parts):
            name = str(path.relative_to(root))
            found += Module(name, path.read_text(), tables, allowed).findings()
    return sorted({*found, *allowed.stale()})


def main() -> int:
    """Print the findings; 1 where there are some."""
    findings = lint(ROOT, read_list(LIST))
    for finding in findings:
        print(finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
