"""The stages in a row: read, resolve, check, plan, fuse, emit."""

from __future__ import annotations

from dataclasses import dataclass, field

from compiler.check import CheckedWorkflow, check
from compiler.diagnostics import Diagnostic, has_errors
from compiler.emit import emit
from compiler.fields import is_organization
from compiler.plan import Plan
from compiler.planning import Fusion, Isolation, make_plan
from compiler.problems import Problems
from compiler.read import read
from compiler.resolve import resolve


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a workflow file.

    :param diagnostics: Every problem, in document order.
    :param workflow: The workflow as far as it could be read; None where the file holds no JSON object.
    """

    diagnostics: list[Diagnostic]
    workflow: CheckedWorkflow | None


@dataclass(frozen=True, slots=True)
class Compilation:
    """The result of a compilation; without errors it has a plan and files.

    :param diagnostics: Every problem, in document order; may hold warnings beside a plan.
    :param files: Names and bytes of the artifact: ``<org>__<workflow>.py`` and ``<org>__<workflow>.plan.json``.
    :param digest: sha256 of the plan's bytes in hex; "" without a plan.
    """

    diagnostics: list[Diagnostic]
    plan: Plan | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    digest: str = ""


def check_workflow(source: bytes | str, *, isolation: Isolation = "process", for_run: bool) -> Checked:
    """Read and check a workflow file. It never raises, whatever the bytes are.

    :param for_run: What is not available yet is an error if true, a warning if false.
    """
    problems = Problems(for_run=for_run)
    document = read(source, problems)
    if document is None:
        return Checked(problems.in_document_order(None), None)
    checked = check(resolve(document, problems), problems, isolation=isolation)
    return Checked(problems.in_document_order(document), checked)


def validate_workflow(source: bytes | str) -> list[Diagnostic]:
    """Return the problems of a workflow file; what is not available yet is a warning."""
    return check_workflow(source, for_run=False).diagnostics


def compile_workflow(
    source: bytes | str,
    *,
    organization: str,
    isolation: Isolation = "process",
    fusion: Fusion | None = None,
) -> Compilation:
    """Compile a workflow file.

    :param organization: Slug of the organisation it belongs to.
    :param isolation: Where tenant code runs.
    :param fusion: Overrules ``settings.fusion``.
    :raises ValueError: The organisation is no slug. Problems of the workflow are diagnostics, never raised.
    """
    if not is_organization(organization):
        raise ValueError(f"an organisation must be a-z, then a-z, 0-9 and -, at most 39; got {organization!r}")
    checked = check_workflow(source, isolation=isolation, for_run=True)
    if checked.workflow is None or has_errors(checked.diagnostics):
        return Compilation(checked.diagnostics)
    plan = make_plan(checked.workflow, organization=organization, isolation=isolation, fusion=fusion)
    files, digest = emit(plan)
    return Compilation(checked.diagnostics, plan, files, digest)
