"""What an API key looks like: ``af_<prefix>_<secret>``, whose last six characters are a checksum of the rest.

The checksum lets a scanner of leaked secrets, and us, tell a key from other text without asking the database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from pydantic import SecretStr

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX_ALPHABET = string.digits + string.ascii_lowercase
_KEY = re.compile(r"af_([0-9a-z]{10})_([0-9A-Za-z]{40})([0-9A-Za-z]{6})")


@dataclass(frozen=True)
class KeyParts:
    """What is stored of a key: the prefix to find it by, and the sha256 of all of it (236 bits of it are random)."""

    prefix: str
    digest: bytes


def make_key() -> SecretStr:
    """Return a new key."""
    prefix = "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(10))
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(40))
    text = f"af_{prefix}_{secret}"
    return SecretStr(text + _checksum(text))


def parse_key(text: str) -> KeyParts | None:
    """Return the parts of a key; None for what is none."""
    match = _KEY.fullmatch(text)
    if match is None or match[3] != _checksum(text[:-6]):
        return None
    return KeyParts(match[1], hashlib.sha256(text.encode()).digest())


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), []
    for _ in range(6):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
