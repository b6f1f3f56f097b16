"""Every example of docs/expressions.md does what the page says."""

from __future__ import annotations

import json
import re

import pytest

from compiler.expressions import EvaluationError, ExpressionError, evaluate, has_expression, parse, render
from compiler.expressions.filters import FILTERS
from compiler.expressions.predicates import TESTS
from tests.pages import page, rows_of

pytestmark = pytest.mark.unit

PAGE = page("expressions")


def rows(heading: str) -> list[tuple[str, ...]]:
    return rows_of(PAGE, heading)


@pytest.mark.parametrize(("text", "scope", "result"), rows("| expression | scope | result |"))
def test_example(text: str, scope: str, result: str) -> None:
    value = render(text, json.loads(scope))
    assert json.dumps(value, ensure_ascii=False) == result


@pytest.mark.parametrize(("text", "scope", "code"), rows("| expression | scope | error |"))
def test_example_that_fails(text: str, scope: str, code: str) -> None:
    assert has_expression(text)
    with pytest.raises((ExpressionError, EvaluationError)) as caught:
        evaluate(parse(text), json.loads(scope))
    assert caught.value.code == code


def test_every_filter_and_test_is_on_the_page() -> None:
    named = set(re.findall(r"`([a-z]+)(?:\(|`)", PAGE[PAGE.index("**Filters.**") : PAGE.index("**Budget")]))
    assert set(FILTERS) <= named
    listed = re.search(r"`is (defined, [^`]*)`", PAGE)
    assert listed is not None
    assert listed.group(1).split(", ") == list(TESTS)
