"""Hostile templates stay inside the budget: operations are counted, memory is measured, time is not asked for."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from compiler.expressions import Budget, EvaluationError, evaluate, parse, render, text_of

pytestmark = pytest.mark.unit

MOST_MEMORY = 40_000_000


def nested(depth: int) -> Any:
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


SCOPE: dict[str, Any] = {
    "big": "x" * 900_000,
    "wide": "ΐ" * 450_000,
    "spaced": " a" * 450_000,
    "list": list(range(50_000)),
    "texts": ["a" * 50_000 + str(n) for n in range(10)],
    "tree": [{"a": [{"b": [1] * 100}] * 100}] * 100,
    "rows": [{"a": "A" * 100}] * 60_000,
    "deep": nested(3_000),
    "huge": 10**5_000,
    "nan": float("nan"),
}

HOSTILE = [
    "{{ big | replace('x', big) }}",
    "{{ big | replace('', big) }}",
    "{{ big ~ big }}",
    "{{ big + big }}",
    "{{ [big, big] }}",
    "{{ {'a': big, 'b': big} }}",
    "{{ big }}{{ big }}",
    "{{ wide | upper }}",
    "{{ spaced | split }}",
    "{{ spaced | split(' ') | join(big) }}",
    "{{ texts | join(big) }}",
    "{{ texts | sort | sort | sort | sort }}" * 30,
    "{% for a in list %}{% for b in list %}{% for c in list %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in list %}{% for b in list %}{% endfor %}{% endfor %}",
    "{% for a in list %}{{ big | length }}{% endfor %}",
    "{% for a in list %}{{ list | tojson | length }}{% endfor %}",
    "{% for a in list %}{% if 'y' in big %}{% endif %}{% endfor %}",
    "{% for a in list %}{% if big == spaced ~ '' %}{% endif %}{% endfor %}",
    "{% for a in list %}{% if -1 in list %}{% endif %}{% endfor %}",
    "{% for a in list %}{% if list | unique %}{% endif %}{% endfor %}",
    "{% for a in list %}{{ 'long text ' * 0 if 0 }}{% endfor %}",
    "{% for a in list %}" + "static text " * 100 + "{% endfor %}",
    "{{ tree }}",
    "{{ [tree] == [tree] }}",
    "{{ tree | unique }}",
    "{{ [" + "list, " * 3_000 + "] }}",
    "{{ list" + " + list" * 3_000 + " }}",
    "{{ big" + " | trim" * 3_000 + " }}",
    "{{ rows | map(attribute='a') | join }}",
    "{{ rows | unique(attribute='a') }}",
    "{{ rows | sort(attribute='a') }}",
    "{{ rows | selectattr('a', 'eq', rows[0].a) | length }}",
    "{{ big | trim(big) }}",
    "{{ deep }}",
    "{{ deep | tojson }}",
    "{{ deep == deep }}",
    "{{ [deep] | unique }}",
    "{{ '[" + "[]," * 100_000 + "[]]' | fromjson }}",
    "{{ '" + "[" * 500 + "]" * 500 + "' | fromjson }}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:60])
def test_a_hostile_template_ends_by_its_budget(text: str) -> None:
    template = parse(text)
    tracemalloc.start()
    try:
        with pytest.raises(EvaluationError) as caught:
            evaluate(template, SCOPE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "expression_budget"
    assert peak < MOST_MEMORY


@pytest.mark.parametrize(
    "text", ["{{ huge }}", "{{ huge ~ '' }}", "{{ huge + 1.5 }}", "{{ huge * huge }}", "{{ huge | int }}", "{{ nan }}",
             "{{ nan + 1 }}", "{{ [nan] | tojson }}", "{{ list[huge] }}", "{{ huge | round(-2) }}", "{{ 1 / 0 }}"]
)  # fmt: skip
def test_numbers_that_are_not_json_do_not_come_out(text: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        evaluate(parse(text), SCOPE)
    assert caught.value.code == "expression_error"


def test_operations_are_counted_the_same_each_time() -> None:
    def used(text: str) -> int:
        budget = Budget()
        evaluate(parse(text), {"list": list(range(100))}, budget)
        return 100_000 - budget.operations_left

    text = "{% for a in list %}{{ a | string | upper }}{% endfor %}"
    assert used(text) == used(text) > 300
    assert used("{{ list | sort | length }}") > 100


def test_a_smaller_budget_can_be_given() -> None:
    with pytest.raises(EvaluationError, match="10 operations"):
        evaluate(parse("{{ 1" + " + 1" * 20 + " }}"), {}, Budget(operations=10))
    with pytest.raises(EvaluationError, match="10 bytes"):
        evaluate(parse("{{ 'é' * 0 if 0 else 'éééééé' }}!"), {}, Budget(output_bytes=10))


def test_large_values_pass_within_the_budget() -> None:
    scope: dict[str, Any] = {"text": "x" * 950_000, "list": [0] * 300_000}
    assert evaluate(parse("{{ text }}"), scope) == scope["text"]
    assert evaluate(parse("{{ list }}"), scope) == scope["list"]
    assert len(str(evaluate(parse("a{{ text | trim | replace('y', 'z') }}"), scope))) == 950_001
    assert evaluate(parse("{{ list | sort | length }}"), {"list": list(range(20_000))}) == 20_000


def test_the_depth_of_a_value() -> None:
    assert evaluate(parse("{{ v }}"), {"v": nested(50)}) == nested(50)
    for text in ("{{ v }}", "{{ v ~ '' }}", "{{ v == v }}"):
        with pytest.raises(EvaluationError) as caught:
            evaluate(parse(text), {"v": nested(60)})
        assert caught.value.code == "expression_budget"


def test_one_value_renders_a_bounded_amount_altogether() -> None:
    scope: dict[str, Any] = {"text": "x" * 900_000}
    assert len(str(render(["{{ text }}"] * 10, scope))) > 9_000_000
    with pytest.raises(EvaluationError) as caught:
        render(["{{ text }}"] * 100, scope)
    assert caught.value.code == "expression_budget"


def test_render_refuses_a_value_that_is_too_deep() -> None:
    with pytest.raises(EvaluationError) as caught:
        render(nested(3_000), {})
    assert caught.value.code == "expression_budget"


@pytest.mark.parametrize("value", [nested(100), ["x" * 600_000] * 2, float("inf"), {1: 2}, object()])
def test_text_of_refuses_what_it_cannot_write(value: Any) -> None:
    with pytest.raises(EvaluationError):
        text_of(value)


@pytest.mark.parametrize("text", ["{{ large }}", "{{ a.large }}", "{{ a['large'] }}", "{{ a.list[0] }}"])
def test_a_reference_may_hand_on_what_is_there_already(text: str) -> None:
    large = ["x" * 600_000] * 3
    scope: dict[str, Any] = {"large": large, "a": {"large": large, "list": [large]}}
    assert render({"v": text}, scope, hands_on=True) == {"v": large}
    with pytest.raises(EvaluationError):
        render({"v": text}, scope)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ v }}!", "x" * 1_100_000),
        ("{{ v ~ '' }}", "x" * 1_100_000),
        ("{{ v + v }}", ["x" * 600_000]),
        ("{{ v }}", nested(60)),
        ("{{ v }}", [nested(60), "x" * 1_100_000]),
        ("{{ v }}", ["x" * 33_000_000, "x" * 33_000_000]),
    ],
    ids=["text", "concatenation", "sum", "deep", "large and deep", "too large"],
)
def test_what_is_handed_on_is_bounded(text: str, value: Any) -> None:
    with pytest.raises(EvaluationError) as caught:
        render(text, {"v": value}, hands_on=True)
    assert caught.value.code == "expression_budget"


def test_references_hand_on_a_bounded_amount_altogether() -> None:
    with pytest.raises(EvaluationError) as caught:
        render(["{{ v }}"] * 7, {"v": ["x" * 10_000_000]}, hands_on=True)
    assert caught.value.code == "expression_budget"
