"""Encryption of what is stored and must not be read by who can read the database: AES-256-GCM.

The key is derived from ``AGENT_FACTORY_SECRET_KEY``, another one for each purpose. A sealed value is bound to its
context (whose it is, and its name): moved to another row or organisation, it does not open.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

_KEY_BYTES = 32
_NONCE_BYTES = 12
_FORMAT = b"\x01"


class UnsealError(Exception):
    """A sealed value does not open: another key, another context, or it was changed. A retry never helps."""


class Cipher:
    """Seals and opens values.

    :param secret: The secret of the settings.
    :param purpose: What is sealed: the sealed values of one purpose do not open for another.
    """

    def __init__(self, secret: SecretStr, purpose: str) -> None:
        derive = HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"agent-factory {purpose}".encode())
        self._aead = AESGCM(derive.derive(secret.get_secret_value().encode()))

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
            raise UnsealError("A secret in the database is of an unknown format.")
        try:
            return self._aead.decrypt(nonce, rest, _bind(context))
        except InvalidTag:
            raise UnsealError(
                "A secret in the database was not encrypted with this AGENT_FACTORY_SECRET_KEY; set the one of before."
            ) from None


def _bind(context: tuple[str, ...]) -> bytes:
    # Lengths first, so that no two contexts give the same bytes.
    parts = [part.encode() for part in context]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
