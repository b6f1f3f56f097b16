"""JSONPath queries: RFC 9535 as before, and whatever a tenant asks for ends soon."""

from __future__ import annotations

from typing import Any

import pytest
from jsonpath import JSONPathEnvironment

from compiler.json_path import QueryError, QueryLimitError, check_query, find_all, re2_pattern

pytestmark = pytest.mark.unit

STORE: dict[str, Any] = {
    "books": [
        {"title": "Moby Dick", "price": 8.99, "isbn": "0-553-21311-3", "tags": ["sea", "whale"]},
        {"title": "Sayings of the Century", "price": 8.95, "tags": []},
        {"title": "A.B", "price": 22.99, "isbn": "0-395-19395-8", "nested": {"price": 8.95, "deep": [[1], [2, [3]]]}},
    ],
    "wanted": "Moby Dick",
    "limit": 10,
    "none": None,
    "yes": True,
    "one": 1,
}
QUERIES = [
    "$", "$.books[*].title", "$..price", "$..*", "$.books[0,2].isbn", "$.books[-1]", "$.books[::2].title",
    "$.books[1:]", "$.books[?@.price < $.limit].title", "$.books[?@.title == $.wanted]", "$.books[?@.isbn]",
    "$.books[?!@.isbn].title", "$.books[?@.price > 8.95 && @.isbn || @.tags == []].title", "$..[?@.price == 8.95]",
    "$..[?count(@.*) > 3].title", "$.books[?length(@.title) == 3].title",
    "$.books[?value(@.nested.price) == 8.95].title", "$.books[?@..deep[?@[0] == 1]]",
    "$.books[?match(@.title, 'A.B')].title", "$.books[?search(@.title, 'B|y')].title",
    "$.books[?search(@.title, @.isbn)]", "$.books[?match(@.title, '[A-Z][.][A-Z]')].title",
    r"$.books[?match(@.title, 'A\\.B')].title", "$[?@ == true]", "$[?@ == 1]", "$[?@ == null]", "$.nothing[*]",
    "$['wanted','limit']", "$.books[?@.nested == $.books[2].nested].title",
    "$.books[?match(@.title, $.wanted)].price", "$.wanted[0]",
]  # fmt: skip
LIST = {"a": [[[[1] * 10] * 10] * 10] * 10, "text": "ab" * 50_000, "zeros": [0] * 50_000}


@pytest.mark.parametrize("query", QUERIES)
def test_finds_what_the_library_finds(query: str) -> None:
    found = find_all(query, STORE)
    assert found == JSONPathEnvironment(strict=True).findall(query, STORE)


def test_most_queries_find_something() -> None:
    assert sum(bool(find_all(query, STORE)) for query in QUERIES) > len(QUERIES) - 5


@pytest.mark.parametrize(
    "query",
    [
        "$..*..*..*..*",
        "$" + "..*" * 20,
        "$..[?@..[?@..[?@..*]]]",
        "$..[?count($..*) > 1]",
        f"$[{','.join(['*'] * 500)}][*][*]",
        "$['a'" + ",'a'" * 900 + "]..x",
        "$.zeros[?$.zeros == $.zeros]",
        "$['zeros'" + ",'zeros'" * 900 + "][?!@]",
        "$.zeros[?search($.text, '(a|b)*a(a|b){500}c')]",
        "$.zeros[?search($.text, $.text)]",
        "$.zeros[?$.text == $.text]",
    ],
)
def test_too_much_work(query: str) -> None:
    with pytest.raises(QueryLimitError, match="250,000 steps"):
        find_all(query, LIST)


def test_many_patterns_of_the_data_are_too_much() -> None:
    patterns = [f"(a{{1,100}}|b{{1,100}}){{1,9}}{number}" for number in range(3_000)]
    with pytest.raises(QueryLimitError):
        find_all("$[?match('a', @)]", patterns)


def test_a_pattern_is_paid_for_once() -> None:
    names = [f"name-{number}" for number in range(10_000)]
    assert find_all("$[?match(@, 'name-[0-9]+')]", names) == names


def test_too_much_found() -> None:
    """The same large value, time and again."""
    value = {"a": ["x" * 1_000_000]}
    assert len(find_all("$['a'" + ",'a'" * 59 + "]", value)) == 60
    with pytest.raises(QueryLimitError, match="64,000,000 bytes"):
        find_all("$['a'" + ",'a'" * 99 + "]", value)


def test_too_deep() -> None:
    value: Any = 1
    for _ in range(200):
        value = [value]
    with pytest.raises(QueryLimitError, match="100 levels"):
        find_all("$..*", value)


def test_a_large_list_is_no_limit() -> None:
    value = {"items": [{"id": number, "name": "x" * 50} for number in range(50_000)]}
    assert find_all("$.items[*].id", value) == list(range(50_000))


@pytest.mark.parametrize("query", ["", "a", "$[", "$.a[?@.b = 1]", "$.a[?nothing(@)]", "$ | $.a", "$" + "[?@" * 200])
def test_no_query(query: str) -> None:
    with pytest.raises(QueryError):
        check_query(query)
    with pytest.raises(QueryError):
        find_all(query, STORE)


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "(.)\\\\1", "a{2000}", "x" * 1_001])
def test_no_pattern(pattern: str) -> None:
    """One of the query is an error; one of the data matches nothing, as RFC 9535 has it."""
    with pytest.raises(QueryError, match="pattern"):
        check_query(f"$[?search(@, '{pattern}')]")
    with pytest.raises(QueryError, match="pattern"):
        check_query(f"$[?@[?!match(@, '{pattern}')]]")
    assert find_all("$[?search('a', @)]", [pattern.replace("\\\\", "\\"), "a"]) == ["a"]


def test_a_query_is_not_too_long() -> None:
    with pytest.raises(QueryError, match="10,000 characters"):
        check_query("$" + ".abc" * 2_500)


@pytest.mark.parametrize(
    ("pattern", "re2"),
    [("a.b", r"a[^\n\r]b"), (r"a\.b", r"a\.b"), ("[.]", "[.]"), (r"[\].].", r"[\].][^\n\r]"), (r"\[.", r"\[[^\n\r]")],
)
def test_the_dot_of_an_i_regexp(pattern: str, re2: str) -> None:
    assert re2_pattern(pattern) == re2


def test_a_dot_is_no_line_break() -> None:
    assert find_all("$[?match(@, 'a.b')]", ["a b", "a\nb", "a\rb", "aéb"]) == ["a b", "aéb"]
