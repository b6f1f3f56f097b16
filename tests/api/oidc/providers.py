"""A real OpenID provider (npm's oidc-provider, a certified one), and somebody with a browser who logs in there."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

FOLDER = Path(__file__).parents[2] / "stubs" / "oidc"
CLIENT_ID, CLIENT_SECRET = "agent-factory", "s3cret with/odd+signs"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "ann": {"email": "Ann@Acme.test", "email_verified": True, "name": "Ann A."},
    "bob": {"email": "bob@acme.test", "email_verified": False, "name": "Bob"},
    "cid": {"email": "cid@else.test", "email_verified": True, "name": "Cid"},
    "dan": {"name": "Dan"},
}


def installed() -> Path:
    """Return the provider's program; install what it needs.

    Skips the test where there is no Node.js, or its packages cannot be had.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm (on Debian: apt-get install nodejs npm)")
    # One at a time: several processes run tests.
    with (FOLDER / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (FOLDER / "node_modules" / ".package-lock.json").exists():
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(FOLDER)]
            made = subprocess.run(command, capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"npm could not install oidc-provider: {made.stderr.strip()[-200:]}")
    return FOLDER / "server.mjs"


@contextmanager
def provider(redirect_uris: list[str]) -> Iterator[str]:
    """A running provider; its issuer."""
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": redirect_uris}
    order = json.dumps({"clients": [client], "accounts": ACCOUNTS})
    command = ["node", str(installed()), order]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        issuer = next((line.strip() for line in process.stdout if line.startswith("http://")), None)
        assert issuer, "the provider did not start"
        yield issuer
    finally:
        process.terminate()
        process.wait(10)


async def log_in_there(url: str, account: str) -> dict[str, str]:
    """Log in at the provider as a browser does; return what it sends back to us."""
    async with httpx.AsyncClient(timeout=10) as browser:
        answer = await browser.get(url)
        for _ in range(12):
            if not answer.is_redirect:
                form = re.search(r'action="([^"]+)"', answer.text)
                assert form, answer.text
                prompt = re.search(r'name="prompt" value="(\w+)"', answer.text)
                assert prompt, answer.text
                filled = {"prompt": prompt[1], "login": account, "password": "x"}
                answer = await browser.post(form[1], data=filled)
                continue
            target = str(answer.url.join(answer.headers["location"]))
            if "/login/" in target and "/interaction/" not in target:
                return dict(parse_qsl(urlsplit(target).query)) | {"url": target.partition("?")[0]}
            answer = await browser.get(target)
    raise AssertionError("the provider sent nobody back")
