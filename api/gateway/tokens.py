"""Tokens of the operator, which belong to no user."""

from __future__ import annotations

import secrets

from fastapi import Request
from pydantic import SecretStr


def bears(request: Request, token: SecretStr | None) -> bool:
    """Tell whether a request bears a token; none does where there is none."""
    if token is None:
        return False
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = token.get_secret_value().encode()
    return scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), expected)
