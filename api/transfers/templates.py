"""The templates of an archive: written, compared with those that are here, brought in."""

from __future__ import annotations

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from api.auth import Caller
from api.settings import Settings
from api.templates.repository import TemplateRepository
from api.templates.service import TemplateService
from api.transfers.comparing import bytes_of, what_to_do
from api.transfers.layout import TemplateContent, TemplateFile, folder_of
from api.transfers.schemas import Change, Existing, TemplateChange, TemplatePart
from api.transfers.zips import MAX_ENTRIES, as_json


async def template_files(templates: TemplateRepository) -> dict[str, bytes]:
    """Return the files of an organisation's own templates."""
    files: dict[str, bytes] = {}
    for listed in await templates.page(search=None, category=None, tag=None, before=None, limit=MAX_ENTRIES):
        row = await templates.get(listed.id)
        assert row is not None, "it was listed in this transaction"
        prefix = folder_of(row.name)
        said = {name: getattr(row, name) for name in TemplateFile.model_fields}
        files |= {f"{prefix}template.json": as_json(said), f"{prefix}workflow.json": row.source}
        if row.canvas is not None:
            files[f"{prefix}canvas.json"] = as_json(row.canvas)
    return files


class TemplateImport:
    """Brings templates into the caller's organisation. They are found by their names."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._rows = TemplateRepository(session, caller.organization_id)
        self._templates = TemplateService(session, caller, settings)

    async def compare(self, content: TemplateContent, existing: Existing) -> TemplateChange:
        """Say what is to become of a template.

        :param existing: What to do with one that is here and differs.
        """
        name = content.said.name
        # Locked: it is still there when it is replaced.
        template_id = await self._rows.named(name, lock=True)
        if template_id is None:
            return TemplateChange(name=name, change="create", differs=[])
        here = await self._templates.get(str(template_id))
        ours: dict[TemplatePart, Any] = {
            "description": here.view.description,
            "category": here.view.category,
            "tags": here.view.tags,
            "input_example": here.input_example,
            "workflow": here.source,
            "canvas": here.canvas,
        }
        theirs = _values(content)
        theirs["workflow"] = theirs.pop("source")
        differs = [part for part, value in ours.items() if bytes_of(value) != bytes_of(theirs[part])]
        return TemplateChange(name=name, change=what_to_do(existing) if differs else "same", differs=differs)

    async def apply(self, content: TemplateContent, change: Change) -> None:
        """Do what was said."""
        if change == "create":
            await self._templates.add(_values(content))
        elif change == "replace":
            template_id = await self._rows.named(content.said.name)
            assert template_id is not None, "it was compared in this transaction"
            await self._templates.change(await self._templates.get(str(template_id)), _values(content))


def _values(content: TemplateContent) -> dict[str, Any]:
    return content.said.model_dump() | {"source": content.source, "canvas": content.canvas}
