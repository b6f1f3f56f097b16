"""Templates: workflows to begin with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from agent_factory_client.schemas import AgentView, Preview, TemplateDetail, TemplateList, TemplateView
from agent_factory_client.transport import Transport, path

PAGE = 100


class Templates:
    """Templates of the caller's organisation, and the public ones that come with the product.

    A template has an ``etag``. Given as ``if_match`` it makes a change of what somebody else has changed meanwhile fail
    (412) instead of overwriting it.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        source: Literal["own", "public"] | None = None,
        q: str | None = None,
        category: str | None = None,
        tag: str | None = None,
        before: str | None = None,
        limit: int | None = None,
    ) -> TemplateList:
        """Return a page of templates, the own ones first; ``next`` is the ``before`` of the page behind it.

        :param q: What their names or descriptions contain.
        """
        query = {"source": source, "q": q, "category": category, "tag": tag, "before": before, "limit": limit}
        return self._transport.json(TemplateList, "GET", path("/templates"), query=query)

    def each(
        self,
        *,
        source: Literal["own", "public"] | None = None,
        q: str | None = None,
        category: str | None = None,
        tag: str | None = None,
    ) -> Iterator[TemplateView]:
        """Yield the templates of :meth:`list` over all pages."""
        before = None
        while True:
            page = self.list(source=source, q=q, category=category, tag=tag, before=before, limit=PAGE)
            yield from page["templates"]
            before = page["next"]
            if before is None:
                return

    def create(
        self,
        name: str,
        *,
        workflow: dict[str, Any] | None = None,
        canvas: dict[str, Any] | None = None,
        agent_id: str | None = None,
        version: int | None = None,
        description: str | None = None,
        category: str | None = None,
        tags: Sequence[str] | None = None,
        input_example: Any = None,
    ) -> TemplateDetail:
        """Make a template of a ``workflow``, or of an agent's draft, or of its published ``version``.

        :param input_example: An input to try the workflow with.
        """
        body = {
            "name": name,
            "workflow": workflow,
            "canvas": canvas,
            "agent_id": agent_id,
            "version": version,
            "description": description,
            "category": category,
            "tags": None if tags is None else [*tags],
            "input_example": input_example,
        }
        given = {name: value for name, value in body.items() if value is not None}
        return self._transport.json(TemplateDetail, "POST", path("/templates"), body=given)

    def show(self, template_id: str) -> TemplateDetail:
        """Return a template with its workflow."""
        return self._transport.json(TemplateDetail, "GET", path("/templates/{}", template_id))

    def update(self, template_id: str, *, if_match: str, **changes: Any) -> TemplateDetail:
        """Change what is given: ``name``, ``description``, ``category``, ``tags``, ``input_example``, ``workflow``,
        ``canvas``.

        :raises ApiError: 412 where it has changed since ``if_match``; 409 where it is public.
        """
        headers = {"if-match": if_match}
        return self._transport.json(
            TemplateDetail, "PATCH", path("/templates/{}", template_id), body=changes, headers=headers
        )

    def remove(self, template_id: str) -> None:
        """Remove an own template; agents that were made from it stay."""
        self._transport.send("DELETE", path("/templates/{}", template_id))

    def preview(self, template_id: str) -> Preview:
        """Say what a template's workflow would become."""
        return self._transport.json(Preview, "POST", path("/templates/{}/preview", template_id))

    def instantiate(
        self, template_id: str, name: str, *, workflow_id: str | None = None, description: str | None = None
    ) -> AgentView:
        """Make an agent with a draft from a template.

        :param workflow_id: The id of its workflow; without it one is made of the name.
        :raises ApiError: 409 where the id is taken.
        """
        body = {"name": name, "workflow_id": workflow_id, "description": description}
        return self._transport.json(AgentView, "POST", path("/templates/{}/instantiate", template_id), body=body)
