"""Cursors of long lists: where the next page begins, in a text that only this control plane can make.

A cursor holds the last id that was shown and a signature over it, the organisation and the filters. So it fits no
other organisation's list and no other question, and nobody can make one up. It is no secret, and it opens nothing:
every query names the caller's organisation all the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any
from uuid import UUID

import orjson

from api.problems import Problem
from api.settings import Settings

_SIGNATURE_BYTES = 16


class Cursors:
    """Cursors of one list of one organisation.

    :param name: Of the list.
    :param question: What was asked for, as JSON values.
    """

    def __init__(self, settings: Settings, organization_id: UUID, name: str, question: Any) -> None:
        # All processes of a control plane have this token; what is derived from it tells nothing of it.
        secret = settings.runtime_token.get_secret_value().encode()
        self._key = hmac.digest(secret, b"agent-factory cursor", hashlib.sha256)
        asked = orjson.dumps([str(organization_id), name, question], option=orjson.OPT_SORT_KEYS)
        self._asked = hashlib.sha256(asked).digest()

    def write(self, last: UUID) -> str:
        """Return the cursor of the page after an id."""
        return base64.urlsafe_b64encode(last.bytes + self._sign(last.bytes)).decode().rstrip("=")

    def read(self, cursor: str) -> UUID:
        """Return the id that a cursor holds.

        :raises Problem: 422, for a text that was not made for this list, with these filters.
        """
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _invalid() from None
        last, signature = raw[:16], raw[16:]
        if len(last) != 16 or not hmac.compare_digest(signature, self._sign(last)):
            raise _invalid()
        return UUID(bytes=last)

    def _sign(self, last: bytes) -> bytes:
        return hmac.digest(self._key, self._asked + last, hashlib.sha256)[:_SIGNATURE_BYTES]


def _invalid() -> Problem:
    detail = "`cursor` must be the `next` of the page before, with the same filters; leave it out to begin anew."
    return Problem(422, "invalid_cursor", detail)
