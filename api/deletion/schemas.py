"""What callers send and see of the deletion of an organisation."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from api.organizations.schemas import Slug


class DeletionCreate(BaseModel):
    """An order to delete the organisation that the caller acts for; ``confirm`` repeats its slug."""

    model_config = ConfigDict(extra="forbid")

    confirm: Slug


class DeletionView(BaseModel):
    """When the organisation is deleted. Until then an owner can call it off."""

    organization: str
    due_at: datetime
