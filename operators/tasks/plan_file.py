"""The plan beside a DAG file: read and checked when a task runs, not when the DAG is parsed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.plan import Plan


class PlanFileError(Exception):
    """The plan of a DAG is missing or is another one than the DAG names; trying again never helps."""


@dataclass(frozen=True, slots=True)
class PlanFile:
    """Where a DAG's plan is, and its digest.

    :param dag_file: Path of the DAG file (``__file__``); the plan is beside it, with ``.plan.json`` for ``.py``.
    :param sha256: Hex digest of the plan's bytes.
    """

    dag_file: str
    sha256: str

    def __init__(self, dag_file: str, *, sha256: str) -> None:
        object.__setattr__(self, "dag_file", dag_file)
        object.__setattr__(self, "sha256", sha256)

    @property
    def path(self) -> Path:
        """The plan's path."""
        return Path(self.dag_file.removesuffix(".py") + ".plan.json")

    def load(self) -> Plan:
        """Read and check the plan.

        :raises PlanFileError: It cannot be read, or is not the plan of this DAG.
        """
        from compiler.plan import Plan, plan_digest

        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise PlanFileError(f"the plan of a DAG must lie beside it; {self.path.name}: {error.strerror}") from None
        digest = plan_digest(data)
        if digest != self.sha256:
            raise PlanFileError(
                f"{self.path.name} must have the digest its DAG names, {self.sha256[:12]}; got {digest[:12]}. "
                "Publish the workflow again"
            )
        try:
            return Plan.from_bytes(data)
        except ValueError:
            # The reason would quote the plan.
            raise PlanFileError(f"{self.path.name} is no plan this version can read. Publish it again") from None
