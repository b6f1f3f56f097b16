"""What senders of signed webhooks do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Any

from tests.api.control_plane import ControlPlane, webhook, workflow

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
URL = "/webhook/default/greet"
BODY = b'{"name": "Ann"}'
JSON = {"content-type": "application/json"}

Signer = Callable[[bytes, int], dict[str, str]]


def now() -> int:
    return int(time.time())


def hexed(content: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def github(body: bytes, at: int) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hexed(body)}


def slack(body: bytes, at: int) -> dict[str, str]:
    signature = "v0=" + hexed(f"v0:{at}:".encode() + body)
    return {"x-slack-request-timestamp": str(at), "x-slack-signature": signature}


def stripe(body: bytes, at: int) -> dict[str, str]:
    return {"stripe-signature": f"t={at},v1={hexed(f'{at}.'.encode() + body)},v0=6ffbb59b"}


def standard(body: bytes, at: int, message: str = "msg_1") -> dict[str, str]:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": signature}


SIGNERS: dict[str, Signer] = {"github": github, "slack": slack, "stripe": stripe, "standard_webhooks": standard}


def auth_of(scheme: str) -> dict[str, Any]:
    """The trigger's ``auth`` for a scheme."""
    if scheme == "standard_webhooks":
        return {"type": scheme, "secret": "hook_secret"}
    return {"type": "hmac", "scheme": scheme, "secret": "hook_secret"}


async def publish(plane: ControlPlane, auth: dict[str, Any], *, secret: str | None = SECRET, **config: Any) -> None:
    """Publish a workflow with such a webhook, and set its secret."""
    if secret is not None:
        value = {"value": secret, "secret": True}
        assert (await plane.api.put("/api/v1/variables/hook_secret", json=value)).status_code < 300
    await plane.publish(workflow(trigger=webhook("greet", auth=auth, **config)))


async def count(plane: ControlPlane) -> int:
    """How many executions there are."""
    answer = await plane.api.get("/api/v1/executions")
    assert answer.status_code == 200, answer.text
    return len(answer.json()["executions"])
