"""The public templates: every organisation's, read-only, and what ``agent-factory new`` scaffolds from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import orjson


@dataclass(frozen=True)
class PublicTemplate:
    """A public template; its name and description are those of its workflow, ``public/<id>.json``.

    :param about: What it does, in one line.
    :param example: An input to try it with.
    """

    id: str
    about: str
    category: str
    tags: tuple[str, ...]
    example: dict[str, Any]

    @cached_property
    def source(self) -> bytes:
        """The workflow's JSON."""
        return (resources.files("api.templates") / "public" / f"{self.id}.json").read_bytes()

    @cached_property
    def digest(self) -> str:
        """The sha256 of :attr:`source`."""
        return hashlib.sha256(self.source).hexdigest()

    @cached_property
    def _document(self) -> dict[str, Any]:
        document: dict[str, Any] = orjson.loads(self.source)
        return document

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self._document["name"])

    @property
    def description(self) -> str:
        """What it does, in a sentence or two."""
        return str(self._document["description"])

    def fits(self, *, search: str | None, category: str | None, tag: str | None) -> bool:
        """Tell whether a list that is filtered like this has it; see ``TemplateRepository.page``."""
        return (
            (search is None or any(search.lower() in text.lower() for text in (self.name, self.description)))
            and category in (None, self.category)
            and (tag is None or tag in self.tags)
        )


_ALL = (
    PublicTemplate(
        "support_triage",
        "sorts messages of customers, drafts answers, answers the caller",
        "support",
        ("webhook", "ai"),
        {"message": "I was charged twice. Check my billing."},
    ),
    PublicTemplate(
        "document_extraction",
        "reads data out of a text and checks it",
        "documents",
        ("webhook", "ai"),
        {"text": "Acme Ltd, invoice 7: paper 10.00, ink 5.50, total 15.50"},
    ),
    PublicTemplate(
        "refund_approval",
        "grants small refunds, asks a person for larger ones",
        "finance",
        ("webhook", "ai", "approval"),
        {"order": "A-1001", "amount": 12.5, "reason": "It came broken."},
    ),
    PublicTemplate(
        "daily_report",
        "adds up numbers on a schedule and puts them into words",
        "reporting",
        ("schedule", "ai"),
        {"shops": [{"name": "North", "orders": 12, "sales": 480.5}]},
    ),
    PublicTemplate(
        "webhook_to_ticket",
        "makes a ticket of what another system reports",
        "operations",
        ("webhook", "ai", "http"),
        {"service": "checkout", "message": "Error rate at 7 %"},
    ),
)
TEMPLATES: dict[str, PublicTemplate] = {template.id: template for template in _ALL}
"""The public templates by id, in the order in which they are listed."""
