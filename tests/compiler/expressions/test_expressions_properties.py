"""Properties over generated texts and scopes, and agreement with Jinja's own sandbox where the semantics agree."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from compiler.expressions import (
    Budget,
    EvaluationError,
    ExpressionError,
    evaluate,
    has_expression,
    parse,
    render,
    text_of,
)

pytestmark = pytest.mark.unit

numbers = st.integers(-(10**30), 10**30) | st.floats(allow_nan=True)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=8)
keys = st.sampled_from(["a", "b", "name", "items", "__class__"]) | st.text(max_size=4)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
scopes = st.dictionaries(st.sampled_from(["input", "a", "b", "x"]), values, max_size=4)

# Words of the language and around it: most sequences are nonsense, some are programs.
WORDS = [
    *(
        "{{",
        "}}",
        "{{-",
        "-}}",
        "{%",
        "%}",
        "{%-",
        "-%}",
        "{#",
        "#}",
        "if",
        "elif",
        "else",
        "endif",
        "for",
        "endfor",
        "in",
    ),
    *("not", "and", "or", "is", "defined", "none", "raw", "endraw", "a", "b", "x", "input", "input.a", "a.b", "a[0]"),
    *("a['b']", "loop.index", "loop", ".", "|", "(", ")", "[", "]", "{", "}", ",", ":", "~", "+", "-", "*", "/", "//"),
    *("%", "**", "==", "!=", "<", "<=", ">", ">=", "=", "1", "0", "-1", "2.5", "1e308", "'a'", '"b"', "''", "true"),
    *("false", "__class__", "set", "macro", "import", "range(", "|default(", "|length", "|upper", "|sort", "|join("),
    *("|map(attribute=", "|selectattr(", "|unique", "|sum", "|first", "|last", "|round(", "|int", "|tojson"),
    *("|fromjson", "|split", "|truncate(", "|date(", "is string", "is even", "\n", "\r\n", "\\", "'", '"'),
]
texts = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join) | st.text(
    alphabet="{}%#ab.|'\"()[]-~1 \n\\\x1c\r", max_size=40
)
programs = texts | texts.map(lambda text: "{{ " + text + " }}") | st.text()


@settings(max_examples=400, deadline=None)
@given(programs, scopes)
def test_any_text_over_any_scope_gives_json_or_one_of_two_errors(text: str, scope: dict[str, Any]) -> None:
    before = copy.deepcopy(scope)
    budget = Budget()
    try:
        template = parse(text)
        assert {(use.root, use.path) for use in template.uses} == {(r.root, r.path) for r in template.references}
        assert len(template.condition_uses) <= len(template.uses) + len(template.references)
        value = evaluate(template, scope, budget)
    except (ExpressionError, EvaluationError):
        pass
    else:
        json.dumps(value, allow_nan=False)
        assert template.is_expression or isinstance(value, str)
        assert text_of(value) is not None
    assert repr(scope) == repr(before)


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_a_text_without_marks_is_verbatim(text: str) -> None:
    if not has_expression(text):
        assert render({text: text}, {}) == {text: text}
        assert evaluate(parse(text), {}) == text


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_value_passes_through_unchanged_or_is_refused(value: Any) -> None:
    if is_json(value):
        assert evaluate(parse("{{ x }}"), {"x": value}) is value
    else:
        with pytest.raises(EvaluationError):
            evaluate(parse("{{ x }}"), {"x": value})


def is_json(value: Any) -> bool:
    if isinstance(value, list):
        return all(is_json(item) for item in value)
    if isinstance(value, dict):
        return all(is_json(item) for item in value.values())
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return not isinstance(value, float) or math.isfinite(value)


# The shared subset: numbers of a size, strings, lists; what both allow must come out the same.
atoms = st.sampled_from(["1", "2", "7", "0", "2.5", "n", "m", "o.k", "o['k']", "l[0]", "l[-1]", "true", "false"])
strings = st.sampled_from(["'a'", "'b'", "''", "s", "o.s", "'A b'"])


def compose(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "~", "in"])
    return st.one_of(
        st.tuples(inner, binary, inner).map(" ".join),
        st.tuples(inner, binary, inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda part: f"not {part}"),
        inner.map(lambda part: f"-{part}"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
        st.tuples(inner, inner).map(lambda p: f"[{p[0]}, {p[1]}]"),
        st.tuples(inner, st.sampled_from(["length", "upper", "lower", "trim", "first", "last", "default('d')"])).map(
            "|".join
        ),
        st.tuples(inner, st.sampled_from(["string", "mapping", "none", "even", "odd", "defined"])).map(" is ".join),
    )


expressions = st.recursive(atoms | strings, compose, max_leaves=6)
SHARED: dict[str, Any] = {"n": 3, "m": -2, "s": "xY", "o": {"k": 5, "s": "o"}, "l": [4, "z"]}
JINJA = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)


@settings(max_examples=800, deadline=None)
@given(expressions)
def test_expressions_agree_with_jinja(expression: str) -> None:
    try:
        ours = evaluate(parse("{{ " + expression + " }}"), SHARED)
    except (ExpressionError, EvaluationError):
        return  # we refuse more: booleans as numbers, unlike types
    try:
        theirs = JINJA.compile_expression(expression, undefined_to_none=False)(**SHARED)
    except (TemplateError, TypeError):
        pytest.fail(f"Jinja refuses {expression}")
    if "==" in expression or "!=" in expression or " in " in expression or "~" in expression:
        # Here the languages differ on purpose: `true == 1`, the text of lists, booleans and null.
        return
    assert json.dumps(ours) == json.dumps(theirs)


pieces = st.sampled_from(
    [
        "a",
        " ",
        "\n",
        "\n\n",
        "{{ n }}",
        "{{- n }}",
        "{{ s -}}",
        "{# c #}",
        "{#- c -#}",
        "{% raw %}{{ x }}{% endraw %}",
        "}}",
        "%}",
    ]
)


def blocks(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, max_size=4).map("".join),
        inner.map(lambda body: "{% if n %}" + body + "{%- else %}no{% endif %}"),
        inner.map(lambda body: "{% if n > 3 -%}\n" + body + "{% elif s == 'xY' %} yes {%- endif %}"),
        inner.map(
            lambda body: (
                "{% for i in l %}" + body + "{{ i }}{{ loop.index }}{% if loop.last %}.{% endif %}{% endfor -%}"
            )
        ),
    )


@settings(max_examples=400, deadline=None)
@given(st.recursive(pieces, blocks, max_leaves=8))
def test_templates_and_their_white_space_agree_with_jinja(text: str) -> None:
    template = parse(text)
    value = evaluate(template, SHARED)
    assert (value if isinstance(value, str) else text_of(value)) == JINJA.from_string(text).render(SHARED)


# Well-formed programs with every filter and operator, whatever they are given.
FILTER_CALLS = [
    *(
        "default({0})",
        "default({0}, true)",
        "length",
        "lower",
        "upper",
        "trim",
        "trim({0})",
        "replace({0}, {1})",
        "split",
    ),
    *("split({0})", "split({0}, {1})", "join", "join({0})", "join(attribute={0})", "first", "last", "sort", "unique"),
    *("sort(attribute={0}, reverse={1})", "unique(attribute={0})", "sum", "sum({0}, {1})", "min", "max", "round"),
    *("min(attribute={0})", "round({0})", "round({0}, 'ceil')", "round({0}, 'floor')", "int", "int({0})", "float"),
    *("string", "tojson", "fromjson", "map(attribute={0})", "map(attribute={0}, default={1})", "selectattr({0})"),
    *("selectattr({0}, 'gt', {1})", "selectattr({0}, 'in', {1})", "selectattr({0}, 'odd')", "truncate({0})"),
    *("truncate({0}, end={1}, leeway=0)", "date", "date({0})"),
]
LEAVES = [
    *(
        "x",
        "a.b",
        "b[0]",
        "input.items",
        "a[x]",
        "1",
        "0",
        "2.5",
        "1e308",
        "18446744073709551615",
        "'a'",
        "''",
        "'a.b'",
    ),
    *("'1e9'", "'[1, {\"a\": 2}]'", "'2026-01-31T00:00:00Z'", "'%d %% %B'", "true", "none", "[1, 2]", "{'b': {}}"),
    "[{'a': 'x'}, {'a': 3}]",
]
SIGNS = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or", "~", "in", "not in"]


SHAPES = [
    *(f"({{0}}) | {call.replace('{1}', '{2}').replace('{0}', '{1}')}" for call in FILTER_CALLS),
    *(f"({{0}}) {sign} ({{1}})" for sign in SIGNS),
    *(f"(({{0}}) is {test})" for test in ("defined", "even", "odd", "none")),
    *("({0})[{1} or 0]", "({0} if {1} else {2})", "not ({0})", "-({0})", "+({0})", "{{({0}): {1}}}", "[{0}, {1}]"),
]


@st.composite
def programs_of(draw: st.DrawFn, depth: int) -> str:
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(LEAVES))
    shape = draw(st.sampled_from(SHAPES))
    return shape.format(*(draw(programs_of(depth - 1)) if f"{{{n}}}" in shape else "" for n in range(3)))


@settings(max_examples=400, deadline=None)
@given(programs_of(3), scopes)
def test_any_program_over_any_scope_gives_json_or_an_evaluation_error(expression: str, scope: dict[str, Any]) -> None:
    for text in ("{{ " + expression + " }}", "{% for i in " + f"[({expression})]" + " %}{{ i }}{% endfor %}"):
        template = parse(text)
        try:
            value = evaluate(template, scope)
        except EvaluationError:
            continue
        json.dumps(value, allow_nan=False)
        assert is_json(value)
