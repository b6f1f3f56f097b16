"""What a caller says about repetition: the key of a request, and what the request was."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from fastapi import Request

from api.problems import Problem

IDEMPOTENCY_KEY = "idempotency-key"
REPLAYED = "idempotent-replayed"
"""Of an answer to a request that came before."""
WEBHOOK_ID = "webhook-id"
"""Standard Webhooks names a delivery by it."""

REMEMBERED = timedelta(hours=24)

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class RequestKey:
    """A request that starts one execution, however often it comes.

    :param scope: The door it came through; the same key at another one is another request.
    :param digest: Of all that the execution depends on.
    :param kept: How long the request is known.
    :param waits: Whether the same request at the same time waits for the first one; else it is refused.
    """

    scope: str
    key: str
    digest: str
    kept: timedelta = REMEMBERED
    waits: bool = True


def read_key(
    request: Request, scope: str, content: Any, headers: Iterable[str] = (IDEMPOTENCY_KEY,), *, waits: bool = False
) -> RequestKey | None:
    """Return a request's key; None where it has none of the headers.

    :param content: All that the execution depends on, as JSON values.
    :param waits: Of an ``Idempotency-Key``. A delivery's id waits always: its sender would deliver it again.
    :raises Problem: 422 for a key that is none.
    """
    name = next((name for name in headers if name in request.headers), None)
    if name is None:
        return None
    key = request.headers[name]
    if not _KEY.fullmatch(key):
        detail = f"`{name}` must have 1 to 255 visible ASCII characters; got {len(key)} characters."
        raise Problem(422, "invalid_idempotency_key", detail)
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return RequestKey(scope, key, digest, waits=waits or name != IDEMPOTENCY_KEY)
