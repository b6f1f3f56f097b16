"""Keys of model providers, from the API process's own environment: workers hold none."""

from __future__ import annotations

from api.settings import Settings
from operators.execution.records import ModelCredential


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
