"""Ids in URLs."""

from __future__ import annotations

from uuid import UUID

from api.problems import not_found


def parse_id(what: str, text: str) -> UUID:
    """Return the id that a URL holds.

    :param what: The noun, for the problem.
    :raises Problem: 404, for no other text can be an id.
    """
    try:
        return UUID(text)
    except ValueError:
        raise not_found(what, text) from None
