"""``transform``: makes an object with expressions, or picks values with a JSONPath."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from compiler.expressions import has_expression
from compiler.fields import Json, problem
from compiler.steps.base import StepConfig, require_one_of


def check_jsonpath(path: str) -> str:
    """Return an RFC 9535 query as it is; one that is made by an expression is checked when it is known.

    :raises PydanticCustomError: It is none.
    """
    if has_expression(path):
        return path
    # Imported here: it takes a tenth of a second, and few workflows have a JSONPath.
    from compiler.json_path import QueryError, check_query

    try:
        check_query(path)
    except QueryError as error:
        raise problem("invalid_config", f"must be a JSONPath (RFC 9535) like $.items[*].id ({error})") from error
    return path


class TransformConfig(StepConfig):
    """Config of ``transform``. Output: the object of ``set``, or ``{values}`` of ``from`` and ``jsonpath``."""

    available: ClassVar[bool] = True
    retryable: ClassVar[bool] = False

    set_: dict[str, Json] | None = Field(default=None, alias="set", description="Names with expressions or JSON.")
    from_: Json = Field(default=None, alias="from", description="What the JSONPath is applied to.")
    jsonpath: Annotated[str, AfterValidator(check_jsonpath)] | None = None

    @model_validator(mode="after")
    def _check(self) -> TransformConfig:
        require_one_of(self, "set_", "jsonpath")
        if self.set_ is not None and "from_" in self.model_fields_set:
            raise problem("invalid_config", "needs either `set`, or `from` and `jsonpath`")
        if self.jsonpath is not None and "from_" not in self.model_fields_set:
            raise problem("missing_field", "needs `from` beside `jsonpath`")
        return self

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """The names of ``set``, or ``values``."""
        names = config.get("set")
        return frozenset(names) if isinstance(names, dict) else frozenset({"values"})
