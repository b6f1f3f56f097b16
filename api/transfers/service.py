"""Exporting agents, templates and variables, and bringing them in."""

from __future__ import annotations

import asyncio
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.agents.repository import AgentRepository
from api.agents.schemas import AgentUpdate
from api.agents.service import AgentService
from api.audit.trail import forget, note
from api.auth import Caller
from api.problems import Problem
from api.settings import Settings
from api.templates.repository import TemplateRepository
from api.transfers.comparing import bytes_of, what_to_do
from api.transfers.layout import (
    VARIABLES,
    AgentContent,
    VariableEntry,
    read_agents,
    read_templates,
    read_variables,
)
from api.transfers.schemas import AgentChange, Change, Existing, ImportReport, VariableChange
from api.transfers.templates import TemplateImport, template_files
from api.transfers.zips import MAX_ENTRIES, as_json, read_zip, write_zip
from api.variables.repository import VariableRepository
from api.variables.schemas import VariableSet
from api.variables.service import VariableService
from api.workflows.repository import VersionRepository, WorkflowRepository

ANY_STATE = frozenset("*")


class ExportService:
    """Exports of the caller's organisation."""

    def __init__(self, session: AsyncSession, caller: Caller) -> None:
        self._agents = AgentService(session, caller)
        self._rows = AgentRepository(session, caller.organization_id)
        self._versions = VersionRepository(session, caller.organization_id)
        self._templates = TemplateRepository(session, caller.organization_id)
        self._variables = VariableRepository(session, caller.organization_id)

    async def agent(self, agent_id: UUID, *, versions: bool) -> bytes:
        """Return an agent as a zip.

        :raises Problem: 404; 413.
        """
        files = await self._files_of(agent_id, versions=versions)
        return await asyncio.to_thread(write_zip, files)

    async def organization(self, *, versions: bool) -> bytes:
        """Return every agent, template and variable as a zip.

        :raises Problem: 413.
        """
        found = await self._rows.page(search=None, status=None, before=None, limit=MAX_ENTRIES)
        files: dict[str, bytes] = {}
        for row in found:
            files |= await self._files_of(row.id, versions=versions)
        files |= await template_files(self._templates)
        rows = await self._variables.all(None)
        listed = [
            VariableEntry(environment=row.environment, name=row.name, secret=row.secret, value=row.value)
            for row in rows
        ]
        files[VARIABLES] = as_json([entry.model_dump() for entry in listed])
        return await asyncio.to_thread(write_zip, files)

    async def _files_of(self, agent_id: UUID, *, versions: bool) -> dict[str, bytes]:
        agent, draft = await self._agents.show(agent_id), await self._agents.draft(agent_id)
        prefix = f"agents/{agent.workflow_id}/"
        files = {
            f"{prefix}agent.json": as_json({"name": agent.name, "description": agent.description}),
            f"{prefix}workflow.json": draft.source,
        }
        if draft.canvas is not None:
            files[f"{prefix}canvas.json"] = as_json(draft.canvas)
        if versions:
            for number in range(1, (agent.version or 0) + 1):
                version = await self._versions.get(agent_id, number)
                if version is not None:
                    files[f"{prefix}versions/{number}.json"] = version.source
        return files


class ImportService:
    """Imports into the caller's organisation. They make drafts, templates and variables, and publish nothing."""

    def __init__(self, session: AsyncSession, caller: Caller, settings: Settings) -> None:
        self._agents = AgentService(session, caller)
        self._workflows = WorkflowRepository(session, caller.organization_id)
        self._templates = TemplateImport(session, caller, settings)
        self._rows = VariableRepository(session, caller.organization_id)
        self._variables = VariableService(session, caller.organization_id, settings)

    async def bring_in(self, content: bytes, existing: Existing, *, dry_run: bool) -> ImportReport:
        """Bring an archive in, all of it or nothing; or say what that would do.

        :param existing: What to do with what is here and differs.
        :raises Problem: 422, for what is no archive of ours; 409, where something differs and is neither to be kept nor
            replaced, or a variable of this name is secret here; 413.
        """
        files = await asyncio.to_thread(read_zip, content)
        agents, templates, variables = read_agents(files), read_templates(files), read_variables(files)
        changes = [await self._compare(agent, existing) for agent in agents]
        beginnings = [await self._templates.compare(template, existing) for template in templates]
        settings = [await self._compare_variable(entry, existing) for entry in variables]
        made: list[Change] = [each.change for part in (changes, beginnings, settings) for each in part]
        report = ImportReport(
            dry_run=dry_run,
            changed=any(change in ("create", "replace") for change in made),
            agents=changes,
            templates=beginnings,
            variables=settings,
        )
        if dry_run:
            forget()
            return report
        if "conflict" in made:
            detail = (
                "What is here already must be kept or replaced: send `existing=keep` or `existing=replace`; a variable "
                "that is secret here must be removed first. Nothing was imported."
            )
            raise Problem(409, "import_conflict", detail, report=report.model_dump(mode="json"))
        for agent, change in zip(agents, changes, strict=True):
            await self._apply(agent, change.change)
        for template, beginning in zip(templates, beginnings, strict=True):
            await self._templates.apply(template, beginning.change)
        for entry, setting in zip(variables, settings, strict=True):
            if setting.change in ("create", "replace"):
                await self._variables.set(entry.environment, entry.name, VariableSet(value=entry.value))
        note(resource="import", after=report)
        return report

    async def _compare(self, agent: AgentContent, existing: Existing) -> AgentChange:
        agent_id = await self._workflows.agent_of(agent.workflow_id)
        if agent_id is None:
            return AgentChange(workflow_id=agent.workflow_id, change="create", differs=[])
        shown, draft = await self._agents.show(agent_id), await self._agents.draft(agent_id)
        here: dict[Literal["name", "description", "workflow", "canvas"], Any] = {
            "name": (shown.name, agent.name),
            "description": (shown.description, agent.description),
            "workflow": (draft.source, agent.source),
            "canvas": (draft.canvas, agent.canvas),
        }
        differs = [part for part, (ours, theirs) in here.items() if bytes_of(ours) != bytes_of(theirs)]
        return AgentChange(
            workflow_id=agent.workflow_id, change=what_to_do(existing) if differs else "same", differs=differs
        )

    async def _compare_variable(self, entry: VariableEntry, existing: Existing) -> VariableChange:
        row = await self._rows.find(entry.environment, entry.name)
        change: Change
        if entry.secret:
            change = "same" if row is not None and row.secret else "needs_value"
        elif row is None:
            change = "create"
        elif row.secret:
            change = "keep" if existing == "keep" else "conflict"
        else:
            change = "same" if bytes_of(row.value) == bytes_of(entry.value) else what_to_do(existing)
        return VariableChange(environment=entry.environment, name=entry.name, change=change)

    async def _apply(self, agent: AgentContent, change: Change) -> None:
        if change == "create":
            await self._agents.add(agent.workflow_id, agent.name, agent.description, agent.source, agent.canvas)
        elif change == "replace":
            agent_id = await self._workflows.agent_of(agent.workflow_id)
            assert agent_id is not None, "it was compared in this transaction"
            await self._agents.update(agent_id, AgentUpdate(name=agent.name, description=agent.description))
            await self._agents.save(
                agent_id, source=agent.source, document=agent.document, canvas=agent.canvas, given=ANY_STATE
            )
