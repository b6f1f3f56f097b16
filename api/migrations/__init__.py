"""Alembic migrations of the control plane's tables. Each can be taken back."""
