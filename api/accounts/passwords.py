"""Passwords: argon2id, in two threads of their own: a flood of logins takes neither memory nor the event loop."""

from __future__ import annotations

import asyncio
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import AfterValidator, Field, SecretStr

MIN_LENGTH = 12
MAX_LENGTH = 128
"""In characters; so the hash never reads more than 512 bytes."""

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's parameters: 19 MiB, 2 passes, one thread."""
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="password")


def _is_long_enough(value: SecretStr) -> SecretStr:
    if len(_normalised(value)) < MIN_LENGTH:
        raise ValueError(f"must have at least {MIN_LENGTH} characters")
    return value


NewPassword = Annotated[SecretStr, Field(max_length=MAX_LENGTH), AfterValidator(_is_long_enough)]
GivenPassword = Annotated[SecretStr, Field(max_length=MAX_LENGTH)]


async def hash_password(password: SecretStr) -> str:
    """Return the hash to store."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hasher.hash, _normalised(password))


async def verify_password(stored: str | None, password: SecretStr) -> bool:
    """Tell whether a password is the right one. Without a stored hash the same work is done for nothing, so that the
    time does not tell who has an account."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _verify, stored, _normalised(password))


def needs_rehash(stored: str) -> bool:
    """Tell whether a hash was made with other parameters than those of today."""
    return _hasher.check_needs_rehash(stored)


def _verify(stored: str | None, password: str) -> bool:
    try:
        return _hasher.verify(stored or _nobodys_hash(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys_hash() -> str:
    return _hasher.hash("the password of nobody")


def _normalised(password: SecretStr) -> str:
    """Return a password in the one form of letters that keyboards write differently."""
    return unicodedata.normalize("NFKC", password.get_secret_value())
