"""Secrets of outgoing messages, and their signatures: Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import secrets
from datetime import UTC, datetime
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession
from standardwebhooks import Webhook

from api.encryption import Cipher
from api.problems import Problem
from api.settings import Settings
from api.variables.secrets import SecretStore

PREFIX = "whsec_"
CALLBACK_SECRET = "callback_secret"  # noqa: S105  # the variable's name, not a secret
"""The organisation's secret variable that signs callbacks."""
_MIN_BYTES, _MAX_BYTES = 24, 64


def new_secret() -> str:
    """Return a new signing secret."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def is_signing_secret(text: str) -> bool:
    """Tell whether a text is a secret of Standard Webhooks: ``whsec_`` and 24 to 64 bytes in base64."""
    if not text.startswith(PREFIX):
        return False
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return False
    return _MIN_BYTES <= len(key) <= _MAX_BYTES


def signed_headers(secret: SecretStr, message_id: UUID, body: str) -> tuple[tuple[str, str], ...]:
    """Return the headers of a message, signed now."""
    now = datetime.now(UTC)
    identifier = f"msg_{message_id.hex}"
    return (
        ("webhook-id", identifier),
        ("webhook-timestamp", str(int(now.timestamp()))),
        ("webhook-signature", Webhook(secret.get_secret_value()).sign(identifier, now, body)),
    )


def subscription_cipher(settings: Settings) -> Cipher:
    """Return what seals the secrets of subscriptions.

    :raises Problem: 409, where the control plane has no key.
    """
    if settings.secret_key is None:
        detail = "Signing secrets need a key, and this control plane has none; set AGENT_FACTORY_SECRET_KEY."
        raise Problem(409, "not_possible_here", detail)
    return Cipher(settings.secret_key, "subscriptions")


async def callback_secret(session: AsyncSession, organization_id: UUID, settings: Settings) -> SecretStr | None:
    """Return what signs the callbacks of an organisation; None where it is not set, or is no signing secret.

    :raises Problem: 409, where the control plane has no key.
    :raises UnsealError: It was sealed with another key.
    """
    secret = await SecretStore(session, settings).read(organization_id, CALLBACK_SECRET)
    return secret if secret is not None and is_signing_secret(secret.get_secret_value()) else None
