"""From a host name to its addresses."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from operators.egress.errors import EgressError


class Resolver(Protocol):
    """Returns the addresses of a host, the preferred first."""

    async def __call__(self, host: str, port: int) -> list[str]:
        """Look a name up.

        :raises EgressError: ``http_error``: it has no address, or nobody answered.
        """
        ...


async def system_resolver(host: str, port: int) -> list[str]:
    """Ask the operating system, in a thread."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        raise EgressError(
            "http_error", f"the host {host!r} must have an address; none was found", retryable=True
        ) from None
    return list(dict.fromkeys(str(address[4][0]) for address in found))
