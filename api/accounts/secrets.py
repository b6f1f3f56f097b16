"""One-time and refresh tokens: 256 random bits, of which the sha256 is stored."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

from pydantic import Field, SecretStr

GivenToken = Annotated[SecretStr, Field(min_length=1, max_length=200)]


def new_token(kind: str) -> SecretStr:
    """Return a new token that begins with its kind."""
    return SecretStr(f"{kind}_{secrets.token_urlsafe(32)}")


def digest_of(token: SecretStr) -> bytes:
    """Return what is stored of a token.

    Looking it up by this digest needs no constant time: who could watch would learn about digests, which do not lead
    back to tokens.
    """
    return hashlib.sha256(token.get_secret_value().encode()).digest()
