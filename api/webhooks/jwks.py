"""Public keys of issuers, fetched from where they publish them and remembered for some minutes."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import orjson

from compiler.urls import UrlError, parse_url
from operators.egress import EgressClient, EgressError, EgressRequest

KEPT_SECONDS = 300.0
AGAIN_SECONDS = 30.0
"""How often an address is asked at most for a key that is not among those it gave, or that did not answer."""
MOST_ADDRESSES = 1_000
MOST_KEYS = 100
FETCH_SECONDS = 5.0


class KeysUnavailable(Exception):
    """The issuer's keys cannot be fetched now. A retry may help. The message is for the log."""


@dataclass
class _Fetched:
    at: float
    keys: list[dict[str, Any]]
    error: str | None = None


class IssuerKeys:
    """Key sets by address. One a process; what it remembers belongs to no organisation, for anybody may read it."""

    def __init__(self, client: EgressClient) -> None:
        self._client = client
        self._sets: OrderedDict[str, _Fetched] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, url: str, key_id: str | None) -> dict[str, Any] | None:
        """Return the key of an id as a JWK; where no id is asked for, the only one. None if there is none.

        :raises KeysUnavailable: The address gives no keys.
        """
        fetched = await self._get(url, KEPT_SECONDS)
        found = _choose(fetched.keys, key_id)
        if found is None:
            # Perhaps a new one.
            found = _choose((await self._get(url, AGAIN_SECONDS)).keys, key_id)
        return found

    async def _get(self, url: str, most_seconds: float) -> _Fetched:
        lock = self._locks.setdefault(url, asyncio.Lock())
        async with lock:
            known = self._sets.get(url)
            limit = AGAIN_SECONDS if known is not None and known.error else most_seconds
            if known is None or time.monotonic() - known.at > limit:
                known = self._sets[url] = await self._fetch(url)
            self._sets.move_to_end(url)
            while len(self._sets) > MOST_ADDRESSES:
                self._locks.pop(self._sets.popitem(last=False)[0], None)
        if known.error is not None:
            raise KeysUnavailable(known.error)
        return known

    async def _fetch(self, url: str) -> _Fetched:
        try:
            request = EgressRequest("GET", parse_url(url), total_seconds=FETCH_SECONDS)
            answer = await self._client.send(request)
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            keys = orjson.loads(answer.body)["keys"]
            if not isinstance(keys, list) or len(keys) > MOST_KEYS or not all(isinstance(key, dict) for key in keys):
                raise ValueError("no key set")
        except (EgressError, UrlError, ValueError, KeyError, TypeError) as error:
            return _Fetched(time.monotonic(), [], f"{type(error).__name__}: {error}")
        return _Fetched(time.monotonic(), keys)


def _choose(keys: list[dict[str, Any]], key_id: str | None) -> dict[str, Any] | None:
    if key_id is None:
        return keys[0] if len(keys) == 1 else None
    return next((key for key in keys if key.get("kid") == key_id), None)
