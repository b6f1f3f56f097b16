"""A control plane that can log people in, and its people."""

from __future__ import annotations

from tests.api.identity.conftest import people, settings

__all__ = ["people", "settings"]
