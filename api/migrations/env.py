"""Alembic's entry: runs the migrations on the connection it is given."""

from __future__ import annotations

from alembic import context

from api.migrate import VERSION_TABLE, is_of_models
from api.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    compare_server_default=True,
    include_object=is_of_models,
)
with context.begin_transaction():
    context.run_migrations()
