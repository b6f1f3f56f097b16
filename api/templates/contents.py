"""A template as it is read, whether it is an organisation's own or public."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from api.agents.sources import check_sizes
from api.etags import quoted
from api.models import AgentTemplate
from api.problems import Problem
from api.templates.library import PublicTemplate
from api.templates.schemas import TemplateView

MAX_EXAMPLE_BYTES = 100_000


@dataclass(frozen=True)
class Template:
    """A template with all that is in it; ``tag`` names its state."""

    view: TemplateView
    tag: str
    source: bytes
    canvas: Any
    input_example: Any

    def as_json(self) -> bytes:
        """Return what callers see of it, the workflow as it was sent."""
        inside = {
            "workflow": orjson.Fragment(self.source),
            "canvas": self.canvas,
            "input_example": self.input_example,
        }
        return orjson.dumps(self.view.model_dump() | inside, option=orjson.OPT_UTC_Z)


def check_template(source: bytes, canvas: Any, input_example: Any) -> None:
    """Check the sizes of what is in a template: as those of a draft, and that of the example.

    :raises Problem: 413.
    """
    check_sizes(source, canvas)
    size = len(orjson.dumps(input_example))
    if size > MAX_EXAMPLE_BYTES:
        detail = f"An input example may have {MAX_EXAMPLE_BYTES:,} bytes of JSON; got {size:,}."
        raise Problem(413, "too_large", detail)


def own(row: AgentTemplate) -> Template:
    """Return an organisation's own template."""
    return Template(view_of_own(row), _tag(row), row.source, row.canvas, row.input_example)


def public(template: PublicTemplate) -> Template:
    """Return a public template."""
    return Template(view_of_public(template), _public_tag(template), template.source, None, template.example)


def view_of_own(row: AgentTemplate) -> TemplateView:
    """Return what callers see of an own template in a list."""
    return TemplateView(
        id=str(row.id),
        source="own",
        name=row.name,
        description=row.description,
        category=row.category,
        tags=row.tags,
        etag=quoted(_tag(row)),
        created_at=row.created_at,
        created_by=row.created_by,
        updated_at=row.updated_at,
        updated_by=row.updated_by,
    )


def view_of_public(template: PublicTemplate) -> TemplateView:
    """Return what callers see of a public template in a list."""
    return TemplateView(
        id=template.id,
        source="public",
        name=template.name,
        description=template.description,
        category=template.category,
        tags=list(template.tags),
        etag=quoted(_public_tag(template)),
        created_at=None,
        created_by=None,
        updated_at=None,
        updated_by=None,
    )


def _tag(row: AgentTemplate) -> str:
    # The digest too: a template that came back from a backup may have a known number and other content.
    return f"{row.revision}-{row.source_digest[:12]}"


def _public_tag(template: PublicTemplate) -> str:
    return f"public-{template.digest[:12]}"
