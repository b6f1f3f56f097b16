"""Finding what people name by its id or otherwise."""

from __future__ import annotations

from agent_factory_client import AgentFactory, ApiError
from agent_factory_client.schemas import AgentView, TemplateDetail


def find_agent(factory: AgentFactory, agent: str) -> AgentView:
    """Return the agent of an id, its own or its workflow's.

    :raises ApiError: There is none.
    """
    try:
        return factory.agents.show(agent)
    except ApiError as error:
        if error.status != 404:
            raise
        named = next((each for each in factory.agents.each() if each["workflow_id"] == agent), None)
        if named is None:
            raise
        return named


def find_template(factory: AgentFactory, template: str) -> TemplateDetail:
    """Return the template of an id, or the own one of a name.

    :raises ApiError: There is none.
    """
    try:
        return factory.templates.show(template)
    except ApiError as error:
        if error.status != 404:
            raise
        named = next(
            (each for each in factory.templates.each(source="own", q=template[:255]) if each["name"] == template), None
        )
        if named is None:
            raise
        return factory.templates.show(named["id"])
