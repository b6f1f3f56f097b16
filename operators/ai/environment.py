"""Model keys of a local run: the environment variables the providers' own SDKs use."""

from __future__ import annotations

import os

from operators.execution.records import ModelCredential


async def environment_credential(provider: str) -> ModelCredential:
    """Return the key of ``openai`` or ``anthropic`` from ``<PROVIDER>_API_KEY`` and ``<PROVIDER>_BASE_URL``.

    Without a key the built-in test model answers.
    """
    prefix = provider.upper()
    return ModelCredential(
        provider=provider,
        api_key=os.environ.get(f"{prefix}_API_KEY") or None,
        base_url=os.environ.get(f"{prefix}_BASE_URL") or None,
    )
