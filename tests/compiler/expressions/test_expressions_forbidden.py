"""What is not of the language: Jinja's other syntax, injections, and texts beyond the limits."""

from __future__ import annotations

import pytest

from compiler.expressions import EvaluationError, ExpressionError, evaluate, parse

pytestmark = pytest.mark.unit


def refusal(text: str) -> ExpressionError:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == caught.value.message
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ ''['__class__'] }}",
        "{{ input.x['__init__'].y }}",
        "{{ __import__ }}",
        "{{ __builtins__['eval'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ macros.uuid.os.popen('id').read() }}",
        "{{ conn.x.get_password() }}",
        "{{ self.__init__ }}",
        "{{ self.x() }}",
        "{{ lipsum(5) }}",
        "{{ range(3) }}",
        "{{ joiner() }}",
        "{{ namespace(a=1) }}",
        "{{ input.items() }}",
        "{{ ''.format(1) }}",
        "{{ '%s' % ('a',) }}",
        "{{ x|attr('y') }}",
        "{{ x|attr('__class__') }}",
        "{{ x|map('attr', '__class__') }}",
        "{{ x|safe }}",
        "{{ x|pprint }}",
        "{{ x|format(1) }}",
        "{{ x|xmlattr }}",
        "{{ x|batch(3) }}",
        "{{ x|upper.lower }}",
        "{{ x is callable }}",
        "{{ x is sameas(1) }}",
        "{{ x is in [1] }}",
        "{{ x[1:2] }}",
        "{{ x[::] }}",
        "{{ x[1, 2] }}",
        "{{ x[1.5] }}",
        "{{ x[none] }}",
        "{{ x[true] }}",
        "{{ 2 ** 3 }}",
        "{{ (1, 2) }}",
        "{{ 1, 2 }}",
        "{{ () }}",
        "{{ x in (1, 2) }}",
        "{% import 'os' as x %}",
        "{% from 'os' import path %}",
        "{% include 'secret' %}",
        "{% extends 'base' %}",
        "{% block a %}{% endblock %}",
        "{% set x = 1 %}",
        "{% set x %}1{% endset %}",
        "{% macro m() %}{% endmacro %}",
        "{% call m() %}{% endcall %}",
        "{% filter upper %}a{% endfilter %}",
        "{% with x = 1 %}{% endwith %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% print 1 %}",
        "{% do x %}",
        "{% trans %}a{% endtrans %}",
        "{% for a, b in x %}{% endfor %}",
        "{% for a in x if a %}{% endfor %}",
        "{% for a in x recursive %}{% endfor %}",
        "{% for a in x %}{% else %}none{% endfor %}",
        "{% for loop in x %}{% endfor %}",
        "{% for __a in x %}{% endfor %}",
        "{% for a in x %}{{ loop }}{% endfor %}",
        "{% for a in x %}{{ loop.cycle('a') }}{% endfor %}",
        "{% for a in x %}{{ loop.changed }}{% endfor %}",
        "{% for a in x %}{{ loop['index0'] }}{% endfor %}",
        "{% for a in x %}{{ loop[a] }}{% endfor %}",
        "{% for a in x %}{{ [loop] }}{% endfor %}",
        "{% for a in x %}{{ loop | tojson }}{% endfor %}",
    ],
)
def test_jinja_outside_the_language_is_forbidden(text: str) -> None:
    assert refusal(text).code == "expression_forbidden"


@pytest.mark.parametrize(
    "text",
    [
        "{{ }}",
        "{{ a",
        "{{ a }",
        "{{ a b }}",
        "{{ a. }}",
        "{{ a | }}",
        "{{ 'a }}",
        "{{ [1 }}",
        "{{ 1 + }}",
        "{{ a ? b : c }}",
        "{{ a && b }}",
        "{{ '\\ud800' }}",
        "{{ '\\N{nothing}' }}",
        "{{ 1e999 }}",
        "{{ 18446744073709551616 }}",
        "{{ 1" + "0" * 4_400 + " }}",
        "{% if a %}",
        "{% endif %}",
        "{% else %}",
        "{% for x in y %}{% endif %}",
        "{# a",
        "{#",
        "a {#",
        "{% raw %}",
        "{%",
        "{{ a }}{{",
    ],
)
def test_broken_text_is_a_syntax_error(text: str) -> None:
    assert refusal(text).code == "expression_syntax"


@pytest.mark.parametrize(
    "name", ["range", "lipsum", "cycler", "dict", "config", "request", "self", "loop", "true_", "os"]
)
def test_names_of_jinja_and_python_are_plain_names(name: str) -> None:
    template = parse("{{ " + name + ".x }}")
    assert [(r.root, r.path) for r in template.references] == [(name, ("x",))]
    with pytest.raises(EvaluationError, match="there is no such name"):
        evaluate(template, {})


@pytest.mark.parametrize(
    ("text", "suggestion"),
    [
        ("{{ x | lenght }}", "length"),
        ("{{ x | d('y') }}", "default"),
        ("{{ x | count }}", "length"),
        ("{{ x | to_json }}", "tojson"),
        ("{{ x is strng }}", "string"),
        ("{{ [] | selectattr('a', 'equalt', 1) }}", "equalto"),
        ("{% fro x in y %}", "for"),
        ("{% for x in y %}{{ loop.frist }}{% endfor %}", "first"),
        ("{{ x | qqqqqqq }}", None),
    ],
)
def test_did_you_mean(text: str, suggestion: str | None) -> None:
    error = refusal(text)
    assert error.suggestion == suggestion
    assert ("Did you mean" in error.message) is (suggestion is not None)


def test_a_message_names_the_line() -> None:
    assert "(line 3)" in refusal("a\nb\n{{ c d }}").message


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("'a' * 3", "`*` takes numbers; got a string"),
        ("input.x - 'a'", "`-` takes numbers; got a string"),
        ("(a ~ b) / 2", "`/` takes numbers; got a string"),
        ("a | upper % 2", "`%` takes numbers; got a string"),
        ("-'a'", "`-` takes numbers; got a string"),
        ("[1] // 2", "`//` takes numbers; got a list"),
        ("true * 2", "`*` takes numbers; got a boolean"),
        ("'a' + 1", "`+` takes two numbers or two strings or two lists; got a string and a number"),
        ("none + x", "`+` takes two numbers or two strings or two lists; got null"),
        ("x < 'a' < 1", "`<` takes two numbers or two strings; got a string and a number"),
        ("x > {}", "`>` takes two numbers or two strings; got an object"),
        ("x | date('%Q')", "the format of `date` knows"),
    ],
)
def test_what_visibly_cannot_work_is_a_problem(expression: str, message: str) -> None:
    for text in ("{{ " + expression + " }}", "{% for q in [1] %}{% if (" + expression + ") %}{% endif %}{% endfor %}"):
        (problem,) = parse(text).problems
        assert message in problem.message
        assert problem.code == "expression_forbidden"


@pytest.mark.parametrize(
    "expression", ["x * 3", "'a' + x", "'a' + 'b'", "1 + 2 - 3", "x < 1", "'a' == 1", "'a' ~ 1", "x | date('%Y')"]
)
def test_what_may_work_is_no_problem(expression: str) -> None:
    assert parse("{{ " + expression + " }}").problems == ()


DEEP = 100_000


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * DEEP,
        "{{ " + "(" * DEEP + "1" + ")" * DEEP + " }}",
        "{{ " + "[" * 51 + "]" * 51 + " }}",
        "{{ " + "not " * DEEP + "1 }}",
        "{{ " + "- " * DEEP + "1 }}",
        "{{ " + "not (" * 60 + "1" + ")" * 60 + " }}",
        "{{ 1" + " if 1 else 1" * DEEP + " }}",
        "{{ 1" + " if 1" * 1_000 + " }}",
        "{{ 1" + " | default(1)" * 1_000 + " }}",
        "{{ " + "a or b and not c == d + e ~ f * (" * 40 + "1" + ")" * 40 + " }}",
        "{% if 1 %}" * DEEP,
        "{% for x in y %}" * 60 + "{% endfor %}" * 60,
        "{{ 1 }}" * DEEP,
        "{{ a" + ".a" * DEEP + " }}",
        "x" * 1_000_000 + "{{ 1 }}",
        "{{ " + "1" * 500_000 + " }}",
        "{{ 0x" + "f" * 500_000 + " }}",
    ],
    ids=lambda text: text[:20],
)
def test_a_text_beyond_the_limits_is_refused(text: str) -> None:
    assert refusal(text).code == "limit_exceeded"


@pytest.mark.parametrize(
    "text",
    [
        "{{ " + "(" * 48 + "1" + ")" * 48 + " }}",
        "{{ " + "[" * 48 + "]" * 48 + " }}",
        "{{ " + "not " * 48 + "1 }}",
        "{{ 1" + " + 1" * 5_000 + " }}",
        "{{ 1" + " ~ 1" * 5_000 + " }}",
        "{{ 1" + " and 1" * 5_000 + " }}",
        "{{ 1" + " == 1" * 5_000 + " }}",
        "{{ 'a'" + " | upper" * 5_000 + " }}",
        "{{ [" + "1 if 1 else 1, " * 1_000 + "] }}",
        "{{ " + "not (1) or " * 1_000 + "1 }}",
        "{% if 1 %}" * 40 + "{% endif %}" * 40,
        "{% if 0 %}{% elif 0 %}" + "{% elif 0 %}" * 1_000 + "{% endif %}",
        "x" * 900_000 + "{{ 1 }}",
    ],
    ids=lambda text: text[:20],
)
def test_a_long_text_within_the_limits_works(text: str) -> None:
    template = parse(text)
    assert template.uses == ()
    evaluate(template, {})


def test_parsing_does_not_depend_on_how_deep_its_caller_stands() -> None:
    def at_depth(frames: int) -> object:
        return at_depth(frames - 1) if frames else parse("{{ " + "[" * 48 + "]" * 48 + f" }}}}{frames}").body

    assert at_depth(600)
