"""What a group of tasks broke off with."""

from __future__ import annotations

from operators.execution.store import StaleLeaseError


def root_cause(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error of a task group; the others are its consequences. A lost lease goes before all."""
    leaves: list[BaseException] = []
    todo: list[BaseException] = [errors]
    while todo:
        error = todo.pop(0)
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        else:
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, StaleLeaseError)), leaves[0])
