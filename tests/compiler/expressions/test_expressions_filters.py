"""The filters and tests, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.expressions import EvaluationError, ExpressionError, evaluate, parse

pytestmark = pytest.mark.unit

SCOPE: dict[str, Any] = {
    "people": [
        {"name": "bob", "age": 30, "tags": ["a"], "boss": {"name": "Eve"}},
        {"name": "Ada", "age": 36.5, "tags": []},
        {"name": "ann", "age": 30, "tags": ["b", "c"]},
    ],
    "mixed": [1, 1.0, True, "a", "A", None, None, [1], [1.0], {"x": 1}, {"x": 1.0}],
}


def value_of(expression: str) -> Any:
    return evaluate(parse("{{ " + expression + " }}"), SCOPE)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("people | length", 3),
        ("'héé' | length", 3),
        ("people[0] | length", 4),
        ("'ÄB' | lower ~ 'äß' | upper", "äbÄSS"),
        ("' a ' | trim", "a"),
        ("'xxaxx' | trim('x')", "a"),
        ("'aaa' | replace('a', 'b', 2)", "bba"),
        ("'ab' | replace('', '-')", "-a-b-"),
        ("' a  b ' | split", ["a", "b"]),
        ("'a,b,c' | split(',', 1)", ["a", "b,c"]),
        ("'' | split", []),
        ("[1, 'a', none, [2]] | join('-')", "1-a-null-[2]"),
        ("people | join(', ', attribute='name')", "bob, Ada, ann"),
        ("[1, 2] | first + [1, 2] | last", 3),
        ("'abc' | first ~ 'abc' | last", "ac"),
        ("[3, 1.5, 2] | sort", [1.5, 2, 3]),
        ("['b', 'A', 'a'] | sort", ["A", "a", "b"]),
        ("['b', 'A', 'a'] | sort(case_sensitive=true, reverse=true)", ["b", "a", "A"]),
        ("people | sort(attribute='name') | map(attribute='name')", ["Ada", "ann", "bob"]),
        ("people | sort(attribute='age') | map(attribute='name')", ["bob", "ann", "Ada"]),
        ("mixed | unique", [1, True, "a", None, [1], {"x": 1}]),
        ("['a', 'A'] | unique(case_sensitive=true)", ["a", "A"]),
        ("people | unique(attribute='age') | length", 2),
        ("[1, 2.5] | sum", 3.5),
        ("[] | sum(start=4)", 4),
        ("people | sum(attribute='age')", 96.5),
        ("[2, 1] | min ~ ['b', 'A'] | max", "1b"),
        ("(people | max(attribute='age')).name", "Ada"),
        ("2.5 | round", 2.0),
        ("-2.567 | round(2)", -2.57),
        ("2.123 | round(1, 'ceil')", 2.2),
        ("2.19 | round(method='floor')", 2.0),
        ("7 | round", 7),
        ("'12' | int", 12),
        ("'-1.9e1' | int", -19),
        ("3.99 | int", 3),
        ("true | int", 1),
        ("'1_000' | int", 0),
        ("'x' | int(none)", None),
        ("none | int(7)", 7),
        ("'inf' | float", 0.0),
        ("'1e999' | float(1)", 1),
        ("'2' | float", 2.0),
        ("[1] | string", "[1]"),
        ("'a' | tojson", '"a"'),
        ("'{\"a\": [1]}' | fromjson", {"a": [1]}),
        ("people | map(attribute='tags.0', default='-') | join", "a-b"),
        ("people | map(attribute='boss.name', default=none) | first", "Eve"),
        ("[[1, 2], [3]] | map(attribute=0)", [1, 3]),
        ("people | selectattr('tags') | length", 2),
        ("people | selectattr('boss', 'defined') | length", 1),
        ("people | selectattr('boss.name', 'eq', 'Eve') | length", 1),
        ("people | selectattr('age', '>=', 36) | length", 1),
        ("people | selectattr('age', 'ne', 30.0) | length", 1),
        ("people | selectattr('name', 'in', ['bob', 'ann']) | length", 2),
        ("'one two three' | truncate(9, leeway=0)", "one..."),
        ("'one two three' | truncate(9, true, leeway=0)", "one tw..."),
        ("'one two three' | truncate(9)", "one two three"),
        ("'one two three' | truncate(5, true, '', 0)", "one t"),
        ("'2026-03-01' | date", "2026-03-01"),
        ("'2026-03-01T23:05:09.5+02:00' | date('%Y%m%d %H:%M:%S.%f %z %%')", "20260301 23:05:09.500000 +0200 %"),
        ("0 | date('%a %A %b %B %j %I %p %y%z')", "Thu Thursday Jan January 001 12 AM 70+0000"),
        ("'2026-03-01T12:00:00-03:30' | date('%%Y %p %z')", "%Y PM -0330"),
        ("'2026-03-01' | date('')", ""),
    ],
)
def test_filter(expression: str, expected: Any) -> None:
    value = value_of(expression)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "expression",
    [
        "1 | upper",
        "none | trim",
        "1 | length",
        "'a' | join",
        "['a'] | join(1)",
        "{} | first",
        "[] | last",
        "[] | min",
        "[1, 'a'] | sort",
        "[true, false] | sort",
        "[none] | max",
        "['a'] | sum",
        "[true] | sum",
        "[1e308, 1e308] | sum",
        "'2' | round",
        "1.5 | round(99)",
        "1.5 | round(true)",
        "1.5 | round(1, 'up')",
        "1.5 | round(1.5)",
        "'[' | fromjson",
        "'NaN' | fromjson",
        "1 | fromjson",
        "people | map(attribute='boss')",
        "people | map(attribute=1.5)",
        "people | sort(attribute='boss')",
        "people | selectattr('name', '<', 1)",
        "people | selectattr('age', 'even')",
        "'abc' | split('')",
        "'abc' | truncate(2)",
        "'abc' | truncate('2')",
        "'yesterday' | date",
        "none | date",
        "1e300 | date",
        "'2026-01-01' | date('%' ~ 'Q')",
        "1.5 is even",
        "'a' is odd",
    ],
)
def test_filter_with_values_that_do_not_fit(expression: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        value_of(expression)
    assert caught.value.code == "expression_error"


@pytest.mark.parametrize(
    ("expression", "code"),
    [
        ("'a' | upper(1)", "expression_syntax"),
        ("'a' | replace('b')", "expression_syntax"),
        ("'a' | replace('b', new='c', nem='d')", "expression_syntax"),
        ("'a' | replace('b', 'c', new='d')", "expression_syntax"),
        ("[] | map('upper')", "expression_forbidden"),
        ("[] | map", "expression_forbidden"),
        ("[] | map(attribute='__class__')", "expression_forbidden"),
        ("[] | map(attribute='a.__class__')", "expression_forbidden"),
        ("[] | selectattr('__class__')", "expression_forbidden"),
        ("[] | selectattr('a', 'divisibleby', 2)", "expression_forbidden"),
        ("[] | selectattr('a', people)", "expression_forbidden"),
        ("[] | join(*people)", "expression_forbidden"),
        ("[] | join(**people)", "expression_forbidden"),
        ("1 is even(2)", "expression_syntax"),
        ("1 is divisibleby 3", "expression_forbidden"),
    ],
)
def test_filter_that_is_written_wrong(expression: str, code: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("{{ " + expression + " }}")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("test", "passing"),
    [
        ("defined", "nsbfulm"),
        ("none", "u"),
        ("string", "s"),
        ("number", "nf"),
        ("mapping", "m"),
        ("sequence", "l"),
    ],
)
def test_tests(test: str, passing: str) -> None:
    values = {"n": 1, "s": "x", "b": True, "f": 1.5, "u": None, "l": [], "m": {}}
    assert {name for name in values if evaluate(parse("{{ " + name + " is " + test + " }}"), values)} == set(passing)


def test_even_and_odd() -> None:
    assert value_of("[0 is even, 3 is even, 2.0 is even, 3 is odd, -1 is odd]") == [True, False, True, True, True]
