"""A login by a provider, from its beginning to its end: everything that ties the two is derived from one token.

Who begins a login gets the token and keeps it; the database has its digest. State, nonce and PKCE verifier are made of
the token, so that nothing that the browser carries to the provider and back leads to it, and nothing in the database
either. Only who began a login can end it: nobody can be logged in as somebody else by a link.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from pydantic import SecretStr

FLOW_SECONDS = 600


@dataclass(frozen=True)
class Flow:
    """A login that has begun."""

    token: SecretStr

    @property
    def state(self) -> str:
        """What the provider gives back, so that an answer fits its question."""
        return self._derive("state")

    @property
    def nonce(self) -> str:
        """What the ID token must name."""
        return self._derive("nonce")

    @property
    def verifier(self) -> str:
        """What the code's redemption must show (RFC 7636)."""
        return self._derive("verifier")

    def _derive(self, what: str) -> str:
        made = hmac.digest(self.token.get_secret_value().encode(), what.encode(), hashlib.sha256)
        return urlsafe_b64encode(made).rstrip(b"=").decode()
