"""``respond``: answers a sync webhook now; the flow goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from compiler.fields import Json, problem
from compiler.steps.base import NumberOrExpression, Single, StepConfig, numbers_by_expression

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def check_headers(headers: dict[str, str]) -> dict[str, str]:
    """Return headers as they are.

    :raises PydanticCustomError: A name is no header name, or a value holds a control character.
    """
    for name, value in headers.items():
        if _HEADER_NAME.fullmatch(name) is None:
            raise problem("invalid_config", f"must have header names without spaces or signs; '{name}' is none")
        if any(ord(character) < 32 and character != "\t" for character in value):
            raise problem("invalid_config", f"must have values without line breaks; that of '{name}' has one")
    return headers


Headers = Annotated[dict[str, str], AfterValidator(check_headers)]


class RespondConfig(StepConfig):
    """Config of ``respond``. The first ``respond`` of an execution answers."""

    available: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    status: Annotated[Json, NumberOrExpression("integer", 200, 599)] = 200
    headers: Headers = Field(default_factory=dict)
    body: Json

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield the status where it is given by an expression."""
        yield from numbers_by_expression(config, "status")
