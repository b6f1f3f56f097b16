"""Every example of docs/json-path.md does what the page says."""

from __future__ import annotations

import json

import pytest

from operators.steps.base import StepFailedError
from operators.steps.transform import find_all
from tests.pages import page, rows_of

pytestmark = pytest.mark.unit

PAGE = page("json-path")


@pytest.mark.parametrize(("query", "value", "values"), rows_of(PAGE, "| query | value | values |"))
def test_example(query: str, value: str, values: str) -> None:
    assert find_all(query, json.loads(value)) == json.loads(values)


@pytest.mark.parametrize(("query", "value", "code"), rows_of(PAGE, "| query | value | error |"))
def test_example_that_fails(query: str, value: str, code: str) -> None:
    with pytest.raises(StepFailedError) as caught:
        find_all(query, json.loads(value))
    assert (caught.value.code, caught.value.retryable) == (code, False)
