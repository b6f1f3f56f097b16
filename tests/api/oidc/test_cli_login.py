"""agent-factory login --oidc, with a real provider and a browser that comes back."""

from __future__ import annotations

import asyncio
import threading
from urllib.parse import urlencode

import httpx
import pytest
from click.testing import CliRunner

from api.cli.main import main
from api.cli.stored_login import read_login
from tests.api.cli.test_remote_commands import own_home  # noqa: F401  fixture
from tests.api.control_plane import ControlPlane
from tests.api.oidc.providers import log_in_there

pytestmark = pytest.mark.platform


async def come_back(url: str, account: str) -> None:
    """Do what a browser does, up to our own address."""
    back = await log_in_there(url, account)
    async with httpx.AsyncClient() as browser:
        assert (await browser.get("http://127.0.0.1:8765/favicon.ico")).status_code == 404
        answer = await browser.get(f"{back.pop('url')}?{urlencode(back)}")
        assert answer.status_code == 200


async def test_login(control_plane: ControlPlane, served_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    browsers: list[threading.Thread] = []

    def open_browser(url: str) -> bool:
        browsers.append(threading.Thread(target=lambda: asyncio.run(come_back(url, "ann"))))
        browsers[0].start()
        return True

    monkeypatch.setattr("webbrowser.open", open_browser)
    arguments = ["login", "--oidc", "corp", "--url", served_url]
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments)
    assert result.exit_code == 0, result.output
    assert "by corp: developer of default" in result.output
    assert read_login() is not None
    browsers[0].join()
    refused = await asyncio.to_thread(CliRunner().invoke, main, ["login", "--oidc", "none", "--url", served_url])
    assert refused.exit_code == 1
    assert "'none'" in refused.output
