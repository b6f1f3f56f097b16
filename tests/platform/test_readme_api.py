"""The README's section "The API by curl", line by line against a running platform."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest

from tests.support import Platform
from tests.test_readme import README

pytestmark = pytest.mark.platform

_BASH = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_from_signing_in_to_a_signed_webhook(platform: Platform) -> None:
    (script,) = _BASH.findall(README)
    environment = os.environ | {"API": platform.home.api_url, "AGENT_FACTORY_HOME": str(platform.home.path)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    me, variable, published, answer, refused, shown = map(json.loads, done.stdout.splitlines())
    assert me["role"] == "organization_owner"
    assert (variable["secret"], variable["value"]) == (True, None)
    assert published["webhooks"] == [f"{platform.home.api_url}/webhook/default/greeter"]
    assert answer == {"text": "Hello Ann"}
    assert refused["code"] == "webhook_unauthorized"
    assert shown["status"] == "success"
    assert [step["id"] for step in shown["steps"]] == ["greet", "answer"]
    assert not done.stderr
