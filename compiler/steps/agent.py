"""``agent``: a model that calls tools until it is done."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from compiler.fields import FormatModel, Json, problem
from compiler.steps.base import StepConfig, require_one_of


class Tool(FormatModel):
    """A tool: an action of an integration, a workflow, or an MCP server."""

    integration: str | None = None
    action: str | None = None
    workflow: str | None = None
    mcp: Json = None

    @model_validator(mode="after")
    def _check(self) -> Tool:
        require_one_of(self, "integration", "workflow", "mcp")
        if (self.integration is None) != (self.action is None):
            raise problem("invalid_config", "needs `integration` and `action` together")
        return self


class AgentConfig(StepConfig):
    """Config of ``agent``. Output as of ``ai_inference``."""

    verbatim: ClassVar[frozenset[str]] = frozenset({"output_schema", "tools"})

    model: str | None = Field(default=None, min_length=1)
    route: str | None = Field(default=None, min_length=1)
    instructions: str
    prompt: str
    tools: list[Tool]
    max_steps: int | None = Field(default=None, ge=1)
    output_schema: dict[str, Json] | None = None
    budget_usd: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _check(self) -> AgentConfig:
        require_one_of(self, "model", "route")
        return self
