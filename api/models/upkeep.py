"""What upkeep remembers from one run to the next."""

from __future__ import annotations

from sqlalchemy.orm import Mapped

from api.models.base import Base, TextKey, Timestamp


class UpkeepRun(Base):
    """When a job that removes what is old last began. It is the whole installation's, so it has no organisation."""

    __tablename__ = "upkeep_runs"

    job: Mapped[TextKey]
    began_at: Mapped[Timestamp]
