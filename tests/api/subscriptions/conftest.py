"""A control plane that can keep secrets."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from api.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})
