"""What expressions give: types, missing keys, operators, statements."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from compiler.expressions import (
    EvaluationError,
    evaluate,
    has_expression,
    parse,
    render,
    render_condition,
    text_of,
)

pytestmark = pytest.mark.unit

SCOPE: dict[str, Any] = {
    "input": {
        "message": "Hi",
        "lang": "en",
        "none": None,
        "zero": 0,
        "items": [1, 2, 3],
        "people": [{"name": "Ada", "age": 36}, {"name": "bob", "age": None}],
        "key": "message",
        "values": {"items": "a key like any other"},
    },
    "classify": {"output": {"intent": "billing", "score": 0.5}, "status": "success", "error": None},
}


def value_of(text: str, scope: dict[str, Any] | None = None) -> Any:
    return evaluate(parse(text), SCOPE if scope is None else scope)


def error_of(text: str, scope: dict[str, Any] | None = None) -> EvaluationError:
    with pytest.raises(EvaluationError) as caught:
        value_of(text, scope)
    assert str(caught.value) == caught.value.message
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"), [("", False), ("a { } }}", False), ("{{x}}", True), ("a{%", True), ("{#", True)]
)
def test_has_expression(text: str, expected: bool) -> None:
    assert has_expression(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 1 }}", True),
        ("{{- 1 -}}", True),
        ("{{ 1 if '}} {{' }}", True),
        (" {{ 1 }}", False),
        ("{{ 1 }}\n", False),
        ("{{ 1 -}}\n", False),
        ("{{ 1 }}{{ 2 }}", False),
        ("{{ 1 }}{# x #}", False),
        ("{# x #}{{ 1 }}", False),
        ("{% raw %}{% endraw %}{{ 1 }}", False),
        ("{% if 1 %}{% endif %}{{ 1 }}", False),
    ],
)
def test_only_one_print_and_nothing_else_is_an_expression(text: str, expected: bool) -> None:
    template = parse(text)
    assert template.is_expression is expected
    assert isinstance(evaluate(template, {}), int if expected else str)


@pytest.mark.parametrize("text", ["a\n", "a\n\n", "a\r\n", "a\rb\n\r\n", "\n", "é\u2028\n"])
def test_text_around_expressions_is_kept_to_the_letter(text: str) -> None:
    assert value_of(text + "{{ 1 }}" + text) == f"{text}1{text}"


def test_carriage_returns_inside_tags_are_white_space_and_inside_strings_are_kept() -> None:
    assert value_of("{{\r\n 'a\rb' ~\r1\r}}") == "a\rb1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ input }}", SCOPE["input"]),
        ("{{ input.values.items }}", "a key like any other"),
        ("{{ input[input.key] }}", "Hi"),
        ("{{ input['message'] }}", "Hi"),
        ("{{ input.items[-1] }}", 3),
        ("{{ input.items[input.zero] }}", 1),
        ("{{ classify.error }}", None),
        ("{{ none }}{{ true }}{{ 1.50 }}", "nulltrue1.5"),
        ("{{ [] }}{{ {} }}{{ [1, 'é'] }}", '[]{}[1,"é"]'),
        ("{{ input.items ~ '' }}", "[1,2,3]"),
        ("{{ 'a' 'b' }}", "ab"),
    ],
)
def test_reading(text: str, expected: Any) -> None:
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ input.mesage }}", "`input.mesage`: no key 'mesage'; there are: 'message', 'lang'"),
        ("{{ input['mesage'] }}", "`input['mesage']`: no key 'mesage'"),
        ("{{ input.none.x }}", "`input.none.x`: no key 'x', for this is null and not an object"),
        ("{{ input.message.upper }}", "`input.message.upper`: no key 'upper', for this is a string"),
        ("{{ input.items.append }}", "`input.items.append`: no key 'append', for this is a list"),
        ("{{ input.items[3] }}", "`input.items[3]`: no item 3; the list has 3"),
        ("{{ input.message[0] }}", "`input.message[0]`: no item, for this is a string"),
        ("{{ input.items[1.5 + 0] }}", "a key must be a string or a whole number"),
        ("{{ nobody.output }}", "`nobody`: there is no such name here"),
        ("{{ {}.x }}", "the object is empty"),
        ("{{ [] | first }}", "`first`"),
    ],
)
def test_missing_says_where_and_what_was_there(text: str, message: str) -> None:
    error = error_of(text)
    assert error.code == "expression_error"
    assert message in error.message


def test_a_message_shows_few_and_short_keys() -> None:
    error = error_of("{{ input.x }}", {"input": {f"{'k' * 500}{n}": n for n in range(500)}})
    assert len(error.message) < 1_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ input.x | default('d') }}", "d"),
        ("{{ input.x.y[0].z | default('d') }}", "d"),
        ("{{ input.none.x | default('d') }}", "d"),
        ("{{ input.message.x | default('d') }}", "d"),
        ("{{ input.items[9] | default('d') }}", "d"),
        ("{{ input.x | upper | default('d') }}", "d"),
        ("{{ (input.x ~ '!') | default('d') }}", "d"),
        ("{{ nobody | default }}", ""),
        ("{{ input.none | default('d') }}", None),
        ("{{ input.none | default('d', true) }}", "d"),
        ("{{ input.zero | default('d', boolean=true) }}", "d"),
        ("{{ input.zero | default(default_value='d', boolean=false) }}", 0),
        ("{{ input.message | default(input.x) }}", "Hi"),
        ("{{ input.x | default(input.y) | default(3) }}", 3),
        ("{{ input.x is defined }}", False),
        ("{{ input.x is not defined }}", True),
        ("{{ input.none.x is defined }}", False),
        ("{{ input.none is defined }}", True),
        ("{{ input.x is defined and input.x > 1 }}", False),
        ("{{ input.message | default('d') ~ '!' }}", "Hi!"),
    ],
)
def test_default_and_defined(text: str, expected: Any) -> None:
    assert value_of(text) == expected


def test_default_hides_only_what_is_missing() -> None:
    assert error_of("{{ (input.message + 1) | default(0) }}").code == "expression_error"
    assert "`input.y`" in error_of("{{ input.x | default(input.y) }}").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 1 == 1.0 }}", True),
        ("{{ true == 1 }}", False),
        ("{{ false == 0 }}", False),
        ("{{ true != 1 }}", True),
        ("{{ [true] == [1] }}", False),
        ("{{ {'a': [1, {'b': 2}]} == {'a': [1.0, {'b': 2.0}]} }}", True),
        ("{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}", True),
        ("{{ {'a': none} == {} }}", False),
        ("{{ none == false }}", False),
        ("{{ '1' == 1 }}", False),
        ("{{ [1, 2] == [1] }}", False),
        ("{{ true in [1] }}", False),
        ("{{ 1.0 in [1] }}", True),
        ("{{ 'a' not in 'bcd' }}", True),
        ("{{ 9007199254740993 == 9007199254740992.0 }}", False),
    ],
)
def test_equality_is_of_json(text: str, expected: bool) -> None:
    assert value_of(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ 1 + 2 * 3 - -4 }}", 11),
        ("{{ 7 // 2 }}", 3),
        ("{{ -7 // 2 }}", -4),
        ("{{ -7 % 3 }}", 2),
        ("{{ 6 / 2 }}", 3.0),
        ("{{ 'n' ~ 2 * 3 }}", "n6"),
        ("{{ 'a' + 'b' }}", "ab"),
        ("{{ [1] + [[2]] }}", [1, [2]]),
        ("{{ not [] }}", True),
        ("{{ 0 or '' or [] }}", []),
        ("{{ 1 and 'x' }}", "x"),
        ("{{ 0 and nobody.x }}", 0),
        ("{{ 1 or nobody.x }}", 1),
        ("{{ 1 if 0 }}", None),
        ("{{ 1 if 0 else 2 if 0 else 3 }}", 3),
        ("{{ 'b' > 'a' >= 'a' }}", True),
        ("{{ 3 > 2 > 2 }}", False),
        ("{{ +5 }}", 5),
        ("{{ -5 | string }}", "-5"),
    ],
)
def test_operators(text: str, expected: Any) -> None:
    value = value_of(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        "{{ input.message * 2 }}",
        "{{ 2 * input.items }}",
        "{{ input.message % 1 }}",
        "{{ input.message + 1 }}",
        "{{ input.items + input.message }}",
        "{{ true + 1 }}",
        "{{ classify.error - 1 }}",
        "{{ -input.message }}",
        "{{ -true }}",
        "{{ 1 / 0 }}",
        "{{ 1 // 0.0 }}",
        "{{ 1 % 0 }}",
        "{{ 1e308 * 10 }}",
        "{{ 1e308 + 1e308 }}",
        "{{ 18446744073709551615 + 1 }}",
        "{{ 4294967296 * 4294967296 }}",
        "{{ input.message < 1 }}",
        "{{ none < 1 }}",
        "{{ true < 2 }}",
        "{{ [1] < [2] }}",
        "{{ 1 in 1 }}",
        "{{ 1 in 'a1' }}",
        "{{ 1 in {'a': 1} }}",
        "{{ {1: 2} }}",
        "{{ input['_' ~ '_x'] }}",
        "{% for x in input.message %}{% endfor %}",
        "{% for x in input %}{% endfor %}",
    ],
)
def test_values_that_do_not_fit(text: str) -> None:
    assert error_of(text).code == "expression_error"


def test_an_error_names_the_operand() -> None:
    assert error_of("{{ 1 + input.none * 2 }}").message == (
        "`*` takes two numbers; got null and a number (at `input.none`)"
    )
    assert "(at `input.none`)" in error_of("{{ input.none | upper }}").message
    assert "(at `input.none`)" in error_of("{{ 2 - -input.none }}").message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for x in input.items %}{{ loop.index }}{{ loop.first }}{{ loop.last }} {% endfor %}",
         "1truefalse 2falsefalse 3falsetrue "),
        ("{% for x in [1, 2] %}{% for y in [3, 4] %}{{ x ~ y ~ loop.index }} {% endfor %}{{ loop.index }};{% endfor %}",
         "131 142 1;231 242 2;"),
        ("{% for input in [1] %}{{ input }}{% endfor %}{{ input.lang }}", "1en"),
        ("{% for x in [] %}x{% endfor %}", ""),
        ("{% if 0 %}a{% elif '' %}b{% elif 1 %}c{% else %}d{% endif %}", "c"),
        ("{% if [] %}a{% else %}d{% endif %}", "d"),
        ("  {%- if 1 -%}  x  {%- endif -%}  ", "x"),
        ("{% raw %}{{ x }}{% y %}{% endraw %}", "{{ x }}{% y %}"),
        ("a{# {{ no }} #}b", "ab"),
    ],
)  # fmt: skip
def test_statements(text: str, expected: str) -> None:
    assert value_of(text) == expected


def test_a_loop_name_ends_with_its_loop() -> None:
    assert "`x`" in error_of("{% for x in [1] %}{% endfor %}{{ x }}").message


def test_render_walks_any_value_and_changes_nothing() -> None:
    value = {"{{ key }}": ["{{ input.items }}", "a {{ input.lang }}", "plain", 1, None, {"deep": "{{ 1 + 1 }}"}]}
    before = copy.deepcopy(value)
    assert render(value, SCOPE) == {"{{ key }}": [[1, 2, 3], "a en", "plain", 1, None, {"deep": 2}]}
    assert value == before


def test_what_an_expression_gives_is_not_evaluated_again() -> None:
    scope: dict[str, Any] = {"input": {"text": "{{ vars.secret }}"}, "vars": {"secret": "s"}}
    assert render({"a": "{{ input.text }}", "b": "x{{ input.text }}", "c": "{{ input }}"}, scope) == {
        "a": "{{ vars.secret }}",
        "b": "x{{ vars.secret }}",
        "c": {"text": "{{ vars.secret }}"},
    }


def test_render_condition_gives_truth() -> None:
    assert render_condition("{{ input.items }}", SCOPE) is True
    assert render_condition("{{ input.none }}", SCOPE) is False


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\n", "a\n"),
        (None, "null"),
        (True, "true"),
        (1.0, "1.0"),
        ({"b": 1, "a": ["é", '"']}, '{"b":1,"a":["é","\\""]}'),
    ],
)
def test_text_of(value: Any, expected: str) -> None:
    assert text_of(value) == expected


def test_parse_remembers_short_texts() -> None:
    assert parse("{{ input.remembered }}") is parse("{{ input.remembered }}")
