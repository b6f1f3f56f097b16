"""The certificates that our HTTP clients trust. Reading them takes longer than a request, so a process does it once."""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpx


@cache
def own_context() -> ssl.SSLContext:
    """Return what clients of our own services trust: the authorities of ``certifi``, whatever the environment says."""
    return httpx.create_ssl_context(trust_env=False)


def public_context() -> ssl.SSLContext:
    """Return what clients of the outside world trust: ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else ``certifi``."""
    return _public_context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _public_context(file: str | None, folder: str | None) -> ssl.SSLContext:
    # httpx reads both variables itself; they are arguments to be the key of the cache.
    return httpx.create_ssl_context()
