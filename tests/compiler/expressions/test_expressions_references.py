"""Which names an expression reads, and how it uses them."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.expressions import parse

pytestmark = pytest.mark.unit


def references(text: str) -> list[tuple[str, tuple[str | int, ...], bool]]:
    return [(r.root, r.path, r.optional) for r in parse(text).references]


def uses(text: str, condition: bool = False) -> list[tuple[Any, ...]]:
    template = parse(text)
    found = template.condition_uses if condition else template.uses
    return [(".".join(map(str, (use.root, *use.path))), use.kind, *use.values) for use in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ classify.output.intent }}", [("classify", ("output", "intent"), False)]),
        ("{{ a['b c'][-1][0].d }}", [("a", ("b c", -1, 0, "d"), False)]),
        ("{{ a.b[c.d].e }}", [("a", ("b",), False), ("c", ("d",), False)]),
        ("{{ a }}{{ a }}{{ b }}", [("a", (), False), ("b", (), False)]),
        ("{{ a.x | default(b.y) }}", [("a", ("x",), True), ("b", ("y",), False)]),
        ("{{ (a.x ~ a.y) | upper | default(1) }}", [("a", ("x",), True), ("a", ("y",), True)]),
        ("{{ a.x is defined and a.x }}", [("a", ("x",), True), ("a", ("x",), False)]),
        ("{{ a.x is not defined }}", [("a", ("x",), True)]),
        ("{{ a.x is string }}", [("a", ("x",), False)]),
        ("{{ a.x[b.y] | default(1) }}", [("a", ("x",), True), ("b", ("y",), True)]),
        ("{{ (a.x | default({})).y }}", [("a", ("x",), True)]),
        ("{% for x in a.list %}{{ x.y }}{{ loop.index }}{{ b.z }}{% endfor %}{{ x }}",
         [("a", ("list",), False), ("b", ("z",), False), ("x", (), False)]),
        ("{% for a in a.list %}{{ a.y }}{% endfor %}", [("a", ("list",), False)]),
        ("{{ loop.index }}", [("loop", ("index",), False)]),
        ("{% if a %}{{ b }}{% elif c %}{{ d }}{% else %}{{ e }}{% endif %}",
         [(name, (), False) for name in "abcde"]),
        ("{{ {a.k: b.v, 'x': [c]} }}", [("a", ("k",), False), ("b", ("v",), False), ("c", (), False)]),
        ("{{ a | replace(b, c) | split(d.x) | map(attribute=e) }}",
         [("a", (), False), ("b", (), False), ("c", (), False), ("d", ("x",), False), ("e", (), False)]),
        ("{{ a if b else c }}", [("a", (), False), ("b", (), False), ("c", (), False)]),
        ("{{ not a == -b < c }}", [("a", (), False), ("b", (), False), ("c", (), False)]),
        ("{% raw %}{{ a }}{% endraw %}{# {{ b }} #} c", []),
        ("{{ 'a.b' ~ 1 ~ none ~ true }}", []),
    ],
)  # fmt: skip
def test_references(text: str, expected: list[Any]) -> None:
    assert references(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a.x }}", [("a.x", "render")]),
        ("Say {{ a.x }}", [("a.x", "render")]),
        ("{{ a.x ~ 'b' }}", [("a.x", "render")]),
        ("{{ [a.x, {'k': a.y}] }}", [("a.x", "render"), ("a.y", "render")]),
        ("{{ a.x | default('d') }}", [("a.x", "render")]),
        ("{{ a.x is defined }}", [("a.x", "render")]),
        ("{{ a.x == 'b' }}", [("a.x", "string", "b")]),
        ("{{ 'b' != a.x }}", [("a.x", "string", "b")]),
        ("{{ a.x in ['b', 'c', 'b'] }}", [("a.x", "string", "b", "c")]),
        ("{{ a.x not in ['b'] }}", [("a.x", "string", "b")]),
        ("{{ a.x | lower == 'b' }}", [("a.x", "string", "b")]),
        ("{{ a.x | default('') | trim in ['b'] }}", [("a.x", "string", "b")]),
        ("{{ a.x == 'b' or a.x == 'c' }}", [("a.x", "string", "b"), ("a.x", "string", "c")]),
        ("{{ a.x | upper }}", [("a.x", "string")]),
        ("{{ a.x < 'm' }}", [("a.x", "string")]),
        ("{{ a.x + '!' }}", [("a.x", "string")]),
        ("{{ a.x > 0.5 }}", [("a.x", "number")]),
        ("{{ 1 <= a.x < a.y }}", [("a.x", "number"), ("a.y", "number")]),
        ("{{ a.x * a.y }}", [("a.x", "number"), ("a.y", "number")]),
        ("{{ a.x + 1 }}", [("a.x", "number")]),
        ("{{ -a.x }}", [("a.x", "number")]),
        ("{{ a.x | round(1) }}", [("a.x", "number")]),
        ("{{ a.x == 5 }}", [("a.x", "number")]),
        ("{{ a.x is even }}", [("a.x", "number")]),
        ("{{ a.x == true }}", [("a.x", "boolean")]),
        ("{{ not a.x }}", [("a.x", "boolean")]),
        ("{{ 1 if a.x else 2 }}", [("a.x", "boolean")]),
        ("{% if a.x %}b{% endif %}", [("a.x", "boolean")]),
        (
            "{% if a.x and not a.y %}{% elif a.z %}{% endif %}",
            [("a.x", "boolean"), ("a.y", "boolean"), ("a.z", "boolean")],
        ),
        ("{{ a.x and a.y }}", [("a.x", "boolean"), ("a.y", "boolean")]),
        ("{{ a.x or a.y == 'b' }}", [("a.x", "boolean"), ("a.y", "string", "b")]),
        ("{{ a.x or 'nobody' }}", [("a.x", "any")]),
        ("Dear {{ a.x or a.y }}", [("a.x", "any"), ("a.y", "render")]),
        ("{{ a.x and 'yes' or 'no' }}", [("a.x", "boolean")]),
        ("{{ a.x + a.y }}", [("a.x", "any"), ("a.y", "any")]),
        ("{{ a.x == a.y }}", [("a.x", "any"), ("a.y", "any")]),
        ("{{ a.x == none }}", [("a.x", "any")]),
        ("{{ 'b' in a.x }}", [("a.x", "any")]),
        ("{{ a.x | length > 3 }}", [("a.x", "any")]),
        ("{{ a.x | int > 3 }}", [("a.x", "any")]),
        ("{{ a.x[b] }}", [("a.x", "any"), ("b", "any")]),
        ("{% for i in a.x %}{% endfor %}", [("a.x", "any")]),
    ],
)
def test_uses(text: str, expected: list[Any]) -> None:
    assert uses(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a.x }}", [("a.x", "boolean")]),
        ("{{ a.x | default(false) }}", [("a.x", "boolean")]),
        ("{{ a.x or 'b' }}", [("a.x", "boolean")]),
        ("{{ a.x == 'b' }}", [("a.x", "string", "b")]),
        ("{{ a.x if a.y else a.z }}", [("a.x", "boolean"), ("a.y", "boolean"), ("a.z", "boolean")]),
    ],
)
def test_uses_in_a_condition(text: str, expected: list[Any]) -> None:
    assert uses(text, condition=True) == expected


def test_optional_is_of_each_use() -> None:
    assert [(use.kind, use.optional) for use in parse("{{ a.x | default('') == 'b' and a.x }}").uses] == [
        ("string", True),
        ("boolean", False),
    ]
