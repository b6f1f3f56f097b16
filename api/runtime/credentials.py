"""Keys of model providers, from the API process's own environment: workers hold none. And what is to be masked."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from api.settings import Settings
from api.variables.secrets import SecretStore
from operators.execution.records import ModelCredential, Redactions


def model_credential(settings: Settings, provider: str) -> ModelCredential | None:
    """Return a provider's key; None for a provider nobody knows."""
    known = {
        "openai": (settings.openai_api_key, settings.openai_base_url),
        "anthropic": (settings.anthropic_api_key, settings.anthropic_base_url),
    }
    if provider not in known:
        return None
    key, base_url = known[provider]
    secret = key.get_secret_value().strip() if key else ""
    return ModelCredential(provider=provider, api_key=secret or None, base_url=base_url or None)


async def known_secrets(session: AsyncSession, organization_id: UUID, settings: Settings) -> Redactions:
    """Return the secrets that the code of an organisation might print: its secret variables, of every environment, and
    the keys of the model providers."""
    values = [key.get_secret_value().strip() for key in (settings.openai_api_key, settings.anthropic_api_key) if key]
    if settings.secret_key is not None:
        known = await SecretStore(session, settings).all(organization_id)
        values += [secret.get_secret_value() for secret in known]
    return Redactions(values=values)
