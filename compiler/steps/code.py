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
    return None if _defines_main(tree) else f"{_MAIN_RULE}; it has none."


def _defines_main(tree: ast.Module) -> bool:
    """Tell whether a statement of the module itself, however nested, gives the name ``main`` a value."""
    todo: list[ast.AST] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found = node.name == "main"
        elif isinstance(node, ast.alias):
            found = (node.asname or node.name) == "main"
        else:
            found = isinstance(node, ast.Name) and node.id == "main" and isinstance(node.ctx, ast.Store)
            if not isinstance(node, ast.AsyncFunctionDef | ast.Lambda):
                todo.extend(ast.iter_child_nodes(node))
        if found:
            return True
    return False
