"""What callers see of imports."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Existing = Literal["refuse", "keep", "replace"]
Change = Literal["create", "replace", "keep", "same", "conflict", "needs_value"]
TemplatePart = Literal["description", "category", "tags", "input_example", "workflow", "canvas"]


class AgentChange(BaseModel):
    """What becomes of an agent of the archive. ``differs`` are the parts that are other ones here."""

    workflow_id: str
    change: Change
    differs: list[Literal["name", "description", "workflow", "canvas"]]


class TemplateChange(BaseModel):
    """What becomes of a template of the archive. ``differs`` are the parts that are other ones here."""

    name: str
    change: Change
    differs: list[TemplatePart]


class VariableChange(BaseModel):
    """What becomes of a variable of the archive. ``needs_value``: it is secret, and its value has to be set here."""

    environment: str
    name: str
    change: Change


class ImportReport(BaseModel):
    """What an import did, or would do where ``dry_run``; ``changed`` says whether anything is another than before."""

    dry_run: bool
    changed: bool
    agents: list[AgentChange]
    templates: list[TemplateChange]
    variables: list[VariableChange]
