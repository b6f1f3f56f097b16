"""JSONPath queries (RFC 9535) of tenants, with bounded work.

A short query can ask for more than there is time: descents in descents, filters in filters, patterns that go back and
forth. So what a query visits, compares and matches costs a budget, which is counted and never timed: a query succeeds
or fails the same way on every machine. ``match`` and ``search`` take patterns of RE2, whose time is linear in the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, cast

from jsonpath import JSONPath, JSONPathEnvironment, JSONPathError, JSONPathMatch
from jsonpath.exceptions import JSONPathRecursionError
from jsonpath.filter import FilterQuery, FunctionExtension, StringLiteral, walk
from jsonpath.function_extensions import Match, Search
from jsonpath.selectors import Filter
from pydantic_core import to_json

from compiler.expressions.rendering import MAX_HANDED_ON_BYTES
from compiler.expressions.values import Json
from compiler.matching import compile_pattern, pattern_problem, search_cost

MAX_STEPS = 250_000
"""Nodes visited, comparisons, and their like: about a second."""
MAX_QUERY_CHARS = 10_000
CHILDREN_A_STEP = 8
"""A visited list or object costs more, as it is looked through."""
CHARS_A_STEP = 64
PATTERN_STEPS = 500
"""What a pattern costs that the query has not had before, and one more for each of its characters."""


class QueryError(Exception):
    """A text is no query of RFC 9535, or has a pattern that is none of RE2; says why."""


class QueryLimitError(Exception):
    """A query asks for too much; says of what."""


def check_query(path: str) -> None:
    """Check a query before it has a value.

    :raises QueryError: It is none.
    """
    _parsed(path)


def find_all(path: str, value: Json, steps: int = MAX_STEPS) -> list[Json]:
    """Return every value the query finds, in its order; ``[]`` for none.

    :raises QueryError: ``path`` is no query.
    :raises QueryLimitError: It takes more than ``steps``, goes deeper than 100 levels, or finds more than 64 MB.
    """
    query = _parsed(path)
    # Only lists and objects have anything below their root; a string would be parsed as JSON.
    if not isinstance(value, dict | list):
        return [] if query.segments else [value]
    token = _budget.set(_Budget(steps))
    try:
        return _within_size(cast(Json, match.obj) for match in query.finditer(value))
    except (JSONPathRecursionError, RecursionError):
        raise QueryLimitError("a query may descend 100 levels deep; this value is deeper") from None
    except JSONPathError as error:
        raise QueryError(_reason(error)) from None
    finally:
        _budget.reset(token)


class _Budget:
    def __init__(self, steps: int) -> None:
        self.left = self.steps = steps
        self.patterns: dict[str, Any] = {}

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            message = f"a query may take {self.steps:,} steps; this one needs more. Search in less, or with fewer `..`"
            raise QueryLimitError(message)


_budget: ContextVar[_Budget] = ContextVar("budget")


def _within_size(found: Iterable[Json]) -> list[Json]:
    """Return what was found: a query may find the same large value many times."""
    values, sizes, left = [], dict[int, int](), MAX_HANDED_ON_BYTES
    for value in found:
        if isinstance(value, dict | list | str) and id(value) not in sizes:
            sizes[id(value)] = len(to_json(value, inf_nan_mode="constants"))
        left -= sizes.get(id(value), 1)
        if left < 0:
            raise QueryLimitError(f"a query may find {MAX_HANDED_ON_BYTES:,} bytes; this one finds more")
        values.append(value)
    return values


def _reason(error: Exception) -> str:
    # The library cannot show where the error is when that is the end of the query.
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return text.partition("\n")[0]


class _Node(JSONPathMatch):
    """A visited value, paid for, and without what only those need who ask for its path or its children."""

    __slots__ = ()

    def new_child(self, obj: object, key: int | str) -> JSONPathMatch:
        return _node(obj, self.root)

    def add_child(self, *children: JSONPathMatch) -> None:
        pass


def _node(value: Any, root: Any) -> _Node:
    _budget.get().spend(1 + (len(value) // CHILDREN_A_STEP if isinstance(value, dict | list) else 0))
    return _Node(filter_context={}, obj=value, parent=None, path="", parts=(), root=root)


class _Query(JSONPath):
    """A query, or one inside a filter, that visits nodes which are paid for."""

    __slots__ = ()

    def finditer(self, data: Any, *, filter_context: Any = None) -> Iterable[JSONPathMatch]:
        matches: Iterable[JSONPathMatch] = [_node(data, data)]
        for segment in self.segments:
            matches = segment.resolve(matches)
        return matches


class _PatternFunction:
    """``match`` and ``search`` of I-Regexps (RFC 9485) with RE2."""

    def check_cache(self, pattern: str) -> Any:
        patterns = _budget.get().patterns
        if pattern not in patterns:
            _budget.get().spend(PATTERN_STEPS + len(pattern))
            known = pattern_problem(re2_pattern(pattern)) is None
            patterns[pattern] = compile_pattern(re2_pattern(pattern)) if known else None
        return patterns[pattern]

    def __call__(self, value: object, pattern: object) -> bool:
        if isinstance(value, str) and isinstance(pattern, str):
            compiled = self.check_cache(pattern)
            _budget.get().spend(0 if compiled is None else search_cost(compiled, value))
        return cast(bool, super().__call__(value, pattern))  # type: ignore[misc]


class _Match(_PatternFunction, Match):
    """``match(value, pattern)``: the pattern matches the whole value."""


class _Search(_PatternFunction, Search):
    """``search(value, pattern)``: the pattern matches a part of the value."""


def re2_pattern(pattern: str) -> str:
    """Return an I-Regexp as RE2 has it: its dot stands for all but ``\\n`` and ``\\r`` (RFC 9485, section 5.3)."""
    parts, escaped, in_class = [], False, False
    for char in pattern:
        parts.append(r"[^\n\r]" if char == "." and not escaped and not in_class else char)
        in_class = in_class if escaped else char == "[" or (in_class and char != "]")
        escaped = char == "\\" and not escaped
    return "".join(parts)


class _Environment(JSONPathEnvironment):
    """RFC 9535 and nothing else, with comparisons that are paid for."""

    def __init__(self) -> None:
        # A cache would copy each filter for each list it is applied to, however long the filter is.
        super().__init__(strict=True, filter_caching=False)
        self.function_extensions |= {"match": _Match(), "search": _Search()}

    def is_truthy(self, obj: object) -> bool:
        _budget.get().spend(1)
        return super().is_truthy(obj)

    def compare(self, left: object, operator: str, right: object) -> bool:
        _budget.get().spend(1 + min(_size(left), _size(right)))
        return super().compare(left, operator, right)


def _size(value: object) -> int:
    """Return the steps that a comparison of a value takes, at most."""
    if isinstance(value, str):
        return len(value) // CHARS_A_STEP
    if not isinstance(value, dict | list):
        return 0
    steps, waiting, left = 0, [value], _budget.get().left
    while waiting and steps <= left:
        item = waiting.pop()
        children = item.values() if isinstance(item, dict) else item
        steps += 1 + len(item)
        waiting.extend(child for child in children if isinstance(child, dict | list))
    return steps


@lru_cache(maxsize=1)
def _environment() -> _Environment:
    return _Environment()


@lru_cache(maxsize=128)
def _parsed(path: str) -> _Query:
    """Return a query ready for values.

    :raises QueryError: It is none.
    """
    if len(path) > MAX_QUERY_CHARS:
        raise QueryError(f"a query may have {MAX_QUERY_CHARS:,} characters; this one has {len(path):,}")
    try:
        query = _environment().compile(path)
        assert isinstance(query, JSONPath), "the operators of queries are not of RFC 9535"
        return _paid(query)
    except (JSONPathError, RecursionError, ValueError) as error:
        raise QueryError(_reason(error)) from None


def _paid(query: JSONPath) -> _Query:
    """Return a query that is paid for, with its filters; check their patterns.

    :raises QueryError: A pattern is none of RE2.
    """
    filters = (each for segment in query.segments for each in segment.selectors if isinstance(each, Filter))
    for expression in (each for found in filters for each in walk(found.expression)):
        if isinstance(expression, FilterQuery):
            expression.path = _Query(env=query.env, segments=expression.path.segments)
        if isinstance(expression, FunctionExtension) and expression.name in ("match", "search"):
            pattern = expression.args[1]
            if isinstance(pattern, StringLiteral) and (problem := pattern_problem(re2_pattern(pattern.value))):
                raise QueryError(problem)
    return _Query(env=query.env, segments=query.segments)
