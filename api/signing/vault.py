"""Encryption of secrets in the database: AES-256-GCM under ``AGENT_FACTORY_SECRET_KEY``."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

_VERSION = b"\x01"
_NONCE = 12


class VaultError(Exception):
    """A ciphertext is not of this key, or not of this place; trying again does not help."""


class Vault:
    """Encrypts and decrypts with one key.

    :param secret: The secret of the settings. A key of its own is derived for each purpose.
    :param purpose: What is encrypted; the ciphertexts of one purpose cannot be read for another.
    """

    def __init__(self, secret: SecretStr, purpose: str) -> None:
        derive = HKDF(SHA256(), 32, salt=None, info=f"agent-factory {purpose}".encode())
        self._cipher = AESGCM(derive.derive(secret.get_secret_value().encode()))

    def seal(self, plain: bytes, place: str) -> bytes:
        """Return version, nonce and ciphertext; it can only be opened for the same place, such as a row's key."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        """Return what was sealed.

        :raises VaultError: It was sealed with another key or for another place, or was changed.
        """
        if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE + 16:
            raise VaultError("The ciphertext is of another version.")
        try:
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :], place.encode())
        except InvalidTag:
            raise VaultError(
                "A secret in the database was not encrypted with this AGENT_FACTORY_SECRET_KEY; set the one of before."
            ) from None
