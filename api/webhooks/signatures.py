"""Signed webhooks: the body as it came, byte for byte, with a secret that both sides have."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import orjson
from starlette.datastructures import Headers

from api.idempotency.keys import REMEMBERED

WINDOW_SECONDS = 300
"""How far a signed time may be from now, either way."""
WITHOUT_TIME = timedelta(days=30)
"""How long a signature is known that has no time in it, for it never becomes too old by itself."""

_SECONDS = re.compile(r"[0-9]{1,12}")


class SignatureRefused(Exception):
    """The caller is not let in. The message is a sentence for the caller, without a secret in it."""


class SecretUnusable(Exception):
    """The secret is none of this scheme. The message is for the log."""


@dataclass(frozen=True)
class SignedMessage:
    """A message that is what its sender signed.

    :param id: Names it among those of one webhook. A message that is sent again has the same one.
    :param kept: How long it must be known, so that it starts nothing when it comes again.
    """

    id: str
    kept: timedelta = REMEMBERED


def verify_message(scheme: str, secret: str, body: bytes, headers: Headers, now: float | None = None) -> SignedMessage:
    """Return the message that a request is.

    :param scheme: ``github``, ``slack``, ``stripe`` or ``standard_webhooks``.
    :param now: Seconds since 1970; the clock's without it.
    :raises SignatureRefused: It is not signed with the secret, or was signed more than five minutes from now.
    :raises SecretUnusable: Nothing can be checked with the secret.
    """
    return _SCHEMES[scheme](secret, body, headers, time.time() if now is None else now)


def _github(secret: str, body: bytes, headers: Headers, now: float) -> SignedMessage:
    expected = "sha256=" + _hex(secret, body)
    _compare(_header(headers, "x-hub-signature-256"), expected)
    return SignedMessage(expected, WITHOUT_TIME)


def _slack(secret: str, body: bytes, headers: Headers, now: float) -> SignedMessage:
    sent = _timely(_header(headers, "x-slack-request-timestamp"), now)
    expected = "v0=" + _hex(secret, b"v0:" + sent.encode() + b":" + body)
    _compare(_header(headers, "x-slack-signature"), expected)
    # Slack signs anew what it sends again.
    return SignedMessage(_id_in(body, "event_id", "Ev") or expected)


def _stripe(secret: str, body: bytes, headers: Headers, now: float) -> SignedMessage:
    pairs = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1:
        raise SignatureRefused("The header 'stripe-signature' must have one `t`.")
    sent = _timely(times[0], now)
    expected = _hex(secret, sent.encode() + b"." + body)
    given = [value for name, _, value in pairs if name == "v1"]
    # While a secret is rolled there is a signature for each of two.
    _compare(given, expected)
    return SignedMessage(_id_in(body, "id", "evt_") or expected)


def _standard_webhooks(secret: str, body: bytes, headers: Headers, now: float) -> SignedMessage:
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import EmptyWebhookSecretError, WebhookVerificationError

    try:
        webhook = Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        raise SecretUnusable("it must be base64, as 'whsec_...'") from None
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    values = {name: _header(headers, name) for name in names}
    # The library takes other forms of numbers, and only its own clock.
    _timely(values["webhook-timestamp"], now)
    try:
        webhook.verify(body, values, json_parse=False)
    except (WebhookVerificationError, ValueError):
        raise _mismatch() from None
    return SignedMessage(values["webhook-id"])


_SCHEMES: Mapping[str, Callable[[str, bytes, Headers, float], SignedMessage]] = {
    "github": _github,
    "slack": _slack,
    "stripe": _stripe,
    "standard_webhooks": _standard_webhooks,
}


def _hex(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()


def _header(headers: Headers, name: str) -> str:
    """Return a header that must be there once: of two, another reader might believe the other one."""
    values = headers.getlist(name)
    if len(values) != 1:
        raise SignatureRefused(f"This webhook is signed: send the header '{name}', once.")
    return values[0]


def _timely(text: str, now: float) -> str:
    """Return a time in seconds as it is."""
    if not _SECONDS.fullmatch(text):
        raise SignatureRefused("The time of the signature must be in whole seconds since 1970.")
    if abs(int(text) - now) > WINDOW_SECONDS:
        raise SignatureRefused(f"The time of the signature must be at most {WINDOW_SECONDS} s from now; sign anew.")
    return text


def _compare(given: str | list[str], expected: str) -> None:
    """Compare in constant time."""
    signatures = [given] if isinstance(given, str) else given
    if not any(hmac.compare_digest(each.encode(), expected.encode()) for each in signatures):
        raise _mismatch()


def _mismatch() -> SignatureRefused:
    return SignatureRefused("The signature does not fit the body; it must be made of the bytes sent, with the secret.")


def _id_in(body: bytes, name: str, beginning: str) -> str | None:
    """Return the id by which a body calls itself, if it has one of the sender's own form."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) and found.startswith(beginning) else None
