"""What the compiler must know about a step type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic_core import CoreSchema, core_schema

from compiler.diagnostics import Code
from compiler.expressions import Kind, has_expression
from compiler.fields import FormatModel, problem
from compiler.model import TaskFields
from compiler.plan import EdgeKind
from compiler.problems import Parts


@dataclass(frozen=True, slots=True)
class Choice:
    """An edge that a step's output chooses: where it stands in the config, and the task it names."""

    kind: EdgeKind
    parts: Parts
    target: str


@dataclass(frozen=True, slots=True)
class Single:
    """A value that must be one expression.

    :param parts: Where it stands in the config.
    :param is_condition: Its truth is what counts.
    :param kinds: The types its value may have, the intended one first; () for any.
    :param rule_for: Says what its value must be where it is not; asked where the expression reads nothing.
    """

    parts: Parts
    value: Any
    is_condition: bool = False
    kinds: tuple[Kind, ...] = ()
    rule_for: Callable[[Any], str | None] | None = None


@dataclass(frozen=True, slots=True)
class TaskProblem:
    """Something wrong between a task's own fields: the field it stands in (None: the task), code and message."""

    field: str | None
    code: Code
    message: str


class StepConfig(FormatModel):
    """Base of the config models, one a step type.

    The class methods read the config *as it stands in the document*, which may be malformed: what they cannot make
    sense of they pass over, since the model reports it.
    """

    available: ClassVar[bool] = False
    """Whether steps of this type run yet."""
    unavailable: ClassVar[tuple[str, ...]] = ()
    """Fields of the config whose behaviour does not exist yet."""
    barrier: ClassVar[bool] = False
    """Whether a step is an Airflow task of its own, never part of a segment."""
    retryable: ClassVar[bool] = True
    """Whether ``retry`` makes sense: the step calls something that may fail by chance."""
    in_pod: ClassVar[bool] = False
    """Whether it runs what a tenant wrote, in a pod where there is Kubernetes: the task-level fields ``code``,
    ``runtime_image`` and ``resource_limits`` belong to it."""
    verbatim: ClassVar[frozenset[str]] = frozenset()
    """Config keys whose strings are no templates."""

    @classmethod
    def choices(cls, config: dict[str, Any]) -> Iterator[Choice]:
        """Yield the edges the config holds."""
        yield from ()

    @classmethod
    def single_expressions(cls, config: dict[str, Any]) -> Iterator[Single]:
        """Yield the values that must be one expression."""
        yield from ()

    @classmethod
    def output_keys(cls, config: dict[str, Any]) -> frozenset[str] | None:
        """Return the keys the output has, where these are all it can ever have; else None."""
        return None

    def task_problems(self, fields: TaskFields) -> Iterator[TaskProblem]:
        """Yield what is wrong with the task-level fields that belong to the type."""
        yield from ()


def numbers_by_expression(config: dict[str, Any], *keys: str) -> Iterator[Single]:
    """Yield the numbers that are given by an expression; other strings the model reports."""
    for key in keys:
        value = config.get(key)
        if isinstance(value, str) and has_expression(value):
            yield Single((key,), value, kinds=("number", "string"))


def require_one_of(model: FormatModel, *names: str) -> None:
    """Check in a validator that exactly one of some fields is given.

    :raises PydanticCustomError: None of them is, or more than one.
    """
    keys = {name: type(model).model_fields[name].alias or name for name in names}
    given = [keys[name] for name in names if name in model.model_fields_set and getattr(model, name) is not None]
    listed = " or ".join(f"`{key}`" for key in keys.values())
    if not given:
        raise problem("missing_field", f"needs {listed}")
    if len(given) > 1:
        raise problem("invalid_config", f"needs either {listed}, not both")


@dataclass(frozen=True, slots=True)
class NumberOrExpression:
    """Annotates a config field that is a number, or one expression that gives it when the step runs."""

    kind: Literal["integer", "number"]
    minimum: float
    maximum: float

    def check(self, value: Any) -> Any:
        """Return the value as it is; None means that it is not given.

        :raises PydanticCustomError: It is no such number.
        """
        if value is None or (isinstance(value, str) and has_expression(value)):
            return value
        noun = "a whole number" if self.kind == "integer" else "a number"
        rule = f"must be {noun} from {self.minimum:,g} to {self.maximum:,g}, or one expression"
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "integer" else int | float):
            raise problem("invalid_field", rule)
        if not self.minimum <= value <= self.maximum:
            raise problem("invalid_config", rule)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: Any) -> dict[str, Any]:
        number = {"type": self.kind, "minimum": self.minimum, "maximum": self.maximum}
        return {"anyOf": [number, {"type": "string", "pattern": r"\{\{"}]}
