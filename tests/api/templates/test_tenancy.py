"""Two organisations with the same ids: no query of templates of one sees or changes the other's rows."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from api.templates.repository import TemplateRepository
from tests.api.control_plane import ControlPlane
from tests.api.furnishing import TEAM
from tests.api.test_tenant_scope import ours, rows_of

pytestmark = pytest.mark.platform

__all__ = ["ours"]


async def test_templates_are_the_own_ones(control_plane: ControlPlane, ours: UUID) -> None:
    async with control_plane.database.system() as session:
        before = await rows_of(session, "theirs")
        templates = TemplateRepository(session, ours)
        everything: dict[str, Any] = {"search": None, "category": None, "tag": None, "before": None, "limit": 9}
        for asked in ({}, {"search": "our"}, {"category": "ours"}, {"tag": "same"}):
            assert [each.created_by for each in await templates.page(**(everything | asked))] == ["ours"]
        for asked in ({"search": "theirs"}, {"category": "theirs"}, {"before": TEAM}):
            assert await templates.page(**(everything | asked)) == []
        assert await templates.named("ours") == TEAM
        assert await templates.named("theirs") is None
        for lock in (False, True):
            found = await templates.get(TEAM, lock=lock)
            assert found is not None
            assert found.source == b"ours"
        assert await templates.change(TEAM, {"source": b"changed"}, "me")
        made = await templates.add({"name": "theirs", "source": b"new"}, "me")
        assert made is not None
        assert not await templates.change(made, {"name": "ours"}, "me")
        await templates.remove(made)
        await templates.remove(TEAM)
        assert await rows_of(session, "theirs") == before
        theirs = await session.scalar(text("SELECT id FROM organizations WHERE slug = 'theirs'"))
        other = await TemplateRepository(session, theirs).add({"name": "new", "source": b"new"}, "them")
        assert other is not None
        before = await rows_of(session, "theirs")
        assert await templates.get(other) is None
        assert await templates.change(other, {"name": "ours now"}, "me")
        await templates.remove(other)
        assert await rows_of(session, "theirs") == before
