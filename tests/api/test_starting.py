"""What is wrong with the settings is one sentence, before the process starts."""

from __future__ import annotations

import pytest

from api.settings import Settings, SettingsError
from api.starting import check_database

pytestmark = pytest.mark.unit


async def test_what_may_be_called_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(database_url="postgresql://x@127.0.0.1:9/x", api_token="a", runtime_token="b")  # type: ignore[arg-type]
    await check_database(settings)
    monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", "not an address!")
    with pytest.raises(SettingsError, match="AGENT_FACTORY_EGRESS_ALLOW must be a comma list"):
        await check_database(settings)
