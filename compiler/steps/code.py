"""``code``: a function of the tenant's, run in isolation. The code itself is a field of the task."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from compiler.fields import Json
from compiler.model import TaskFields
from compiler.plan import Network
from compiler.problems import shown
from compiler.steps.base import StepConfig, TaskProblem

Language = Literal["python", "javascript"]
DEFAULT_IMAGES: dict[Language, str] = {"python": "python:3.11-slim", "javascript": "node:22-slim"}
"""Image of the pod where a task names none."""

_MAIN_RULE = "`code` must define a function `main(input)` at its top level"


class CodeConfig(StepConfig):
    """Config of ``code``. Output: what ``main`` returned."""

    available: ClassVar[bool] = True
    barrier: ClassVar[bool] = True
    in_pod: ClassVar[bool] = True

    language: Language
    input: dict[str, Json] = Field(default_factory=dict)
    network: Network = "none"

    def task_problems(self, fields: TaskFields) -> Iterator[TaskProblem]:
        """Yield what can be known of the code without running it."""
        if fields.code is None:
            yield TaskProblem(None, "missing_field", "A task of type 'code' needs `code`, beside `config`.")
        elif self.language == "python":
            message = python_problem(fields.code)
            if message is not None:
                yield TaskProblem("code", "invalid_config", message)
        elif "main" not in fields.code:
            yield TaskProblem("code", "invalid_config", f"{_MAIN_RULE}; got {shown(fields.code)}.")


def python_problem(source: str) -> str | None:
    """Return what is wrong with a Python program, or None. It is parsed, never run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except SyntaxError as error:
        return f"`code` must be Python; line {error.lineno or 1} is not: {error.msg}."
    except (ValueError, RecursionError, MemoryError) as error:
        return f"`code` must be Python that can be parsed; it cannot: {error or type(error).__name__}."
    if any(isinstance(node, ast.AsyncFunctionDef) and node.name == "main" for node in tree.body):
        return "`main` must be a plain function, `def main(input):`; got an `async def`."
    return None if any(_defines_main(node) for node in tree.body) else f"{_MAIN_RULE}; it has none."


def _defines_main(node: ast.stmt) -> bool:
    """Tell whether a statement may give the name ``main`` a value in its module."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name == "main"
    if isinstance(node, ast.Import | ast.ImportFrom):
        return any((alias.asname or alias.name) == "main" for alias in node.names)
    if any(isinstance(child, ast.Name) and child.id == "main" and isinstance(child.ctx, ast.Store)
           for child in ast.walk(node)):  # fmt: skip
        return True
    return any(_defines_main(child) for child in ast.walk(node) if isinstance(child, ast.FunctionDef))
