"""Encryption of what is stored and must not be read by who can read the database: AES-256-GCM.

A sealed value is bound to its context (whose it is, and its name): moved to another row or organisation, it does not
open.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"\x01"


class UnsealError(Exception):
    """A sealed value does not open: another key, another context, or it was changed. A retry never helps."""


def decode_key(text: str) -> bytes:
    """Return the key that a setting holds.

    :raises ValueError: It is not base64 of 32 bytes; the message does not repeat it.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be base64 of 32 random bytes; `openssl rand -base64 32` makes one")
    return key


def generate_key() -> str:
    """Return a new random key as a setting holds it."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


class Cipher:
    """Seals and opens values.

    :param key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plain: bytes, *context: str) -> bytes:
        """Return the sealed value: a format byte, a random nonce, ciphertext and tag."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORMAT + nonce + self._aead.encrypt(nonce, plain, _bind(context))

    def open(self, sealed: bytes, *context: str) -> bytes:
        """Return the plain value.

        :raises UnsealError: Another key or context, or it was changed.
        """
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _FORMAT or len(nonce) != _NONCE_BYTES:
            raise UnsealError("The sealed value is of an unknown format.")
        try:
            return self._aead.decrypt(nonce, rest, _bind(context))
        except InvalidTag:
            raise UnsealError("The sealed value does not open with this key for this place.") from None


def _bind(context: tuple[str, ...]) -> bytes:
    # Lengths first, so that no two contexts give the same bytes.
    parts = [part.encode() for part in context]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
