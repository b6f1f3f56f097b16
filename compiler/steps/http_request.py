"""``http_request``: one HTTP call."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, model_validator

from compiler.fields import Json, problem
from compiler.steps.base import StepConfig
from compiler.steps.respond import Headers

_STATUS_RANGE = re.compile(r"[1-5][0-9]{2}(-[1-5][0-9]{2})?")


def _check_statuses(value: Json) -> Json:
    """An expected status: a number, a range as text, or a list of these."""
    for item in value if isinstance(value, list) else [value]:
        is_code = isinstance(item, int) and not isinstance(item, bool) and 100 <= item <= 599
        is_range = isinstance(item, str) and _STATUS_RANGE.fullmatch(item) is not None
        if not (is_code or is_range):
            raise problem("invalid_config", "must be a status like 204, a range like '200-299', or a list of these")
    return value


class HTTPRequestConfig(StepConfig):
    """Config of ``http_request``. Output: ``{status, headers, json or text}``."""

    verbatim: ClassVar[frozenset[str]] = frozenset({"expect_status"})

    method: str = "GET"
    url: str = Field(min_length=1)
    headers: Headers = Field(default_factory=dict)
    query: dict[str, Json] = Field(default_factory=dict)
    json_: Json = Field(default=None, alias="json")
    body: str | None = None
    expect_status: Annotated[Json, AfterValidator(_check_statuses)] = "200-299"

    @model_validator(mode="after")
    def _check(self) -> HTTPRequestConfig:
        if "json_" in self.model_fields_set and self.body is not None:
            raise problem("invalid_config", "needs either `json` or `body`, not both")
        return self
