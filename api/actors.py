"""Who did it: the name that goes into ``created_by`` and its like."""

from __future__ import annotations

from api.auth import Caller

OPERATOR = "operator"
"""Whoever holds the installation's own token: one actor, however many people share it."""


def actor(caller: Caller) -> str:
    """Return the caller's name: a user's id, or ``operator`` for the installation's own token."""
    user_id = caller.user_id
    return OPERATOR if user_id is None else str(user_id)
