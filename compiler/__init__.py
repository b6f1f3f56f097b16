"""The compiler: workflow JSON in, diagnostics and a DAG artifact out. Pure: no Airflow, database, network or clock.

The functions are imported when they are first asked for, so that who reads plans only (an Airflow task) does not pay
for the compiler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.compilation import Checked, Compilation, check_workflow, compile_workflow, validate_workflow

__all__ = ["Checked", "Compilation", "check_workflow", "compile_workflow", "validate_workflow"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'compiler' has no attribute {name!r}")
    from compiler import compilation

    return getattr(compilation, name)
