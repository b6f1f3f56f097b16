"""The check in front of every connection: resolve once, check every address, and give those out to connect to."""

from __future__ import annotations

from operators.egress.addresses import IPAddress, parse_address, why_not_public
from operators.egress.errors import EgressError
from operators.egress.policy import EgressPolicy, Endpoint, is_local
from operators.egress.resolver import Resolver, system_resolver

MAX_ADDRESSES = 4
"""How many addresses of a host are tried."""
FRONT_DOORS = frozenset({80, 443})


class Guard:
    """Decides where connections may lead.

    :param resolver: Replaces the operating system's in tests.
    """

    def __init__(self, policy: EgressPolicy, resolver: Resolver = system_resolver) -> None:
        self._policy = policy
        self._resolve = resolver

    async def addresses(self, host: str, port: int) -> list[IPAddress]:
        """Return the addresses to connect to; a name must not be resolved again after this.

        A name with one bad address among good ones is refused: nobody's public service looks like that.

        :raises EgressError: ``blocked_address``; ``http_error`` where the name has no address.
        """
        found = await self._lookup(host, port)
        for address in found:
            kind = self._policy.refusal(host, port, address)
            if kind is not None:
                raise _blocked(host, f"one that is not ({kind})")
        # A public front door may be shared by many names (a CDN); anything else at an address of ours is ours.
        suspects = [address for address in found if port not in FRONT_DOORS or why_not_public(address)]
        for own in self._policy.own:
            if own.port in (None, port) and suspects and await self._is_own(own, port, suspects):
                raise _blocked(host, "the platform itself")
        return found[:MAX_ADDRESSES]

    async def _lookup(self, host: str, port: int) -> list[IPAddress]:
        literal = parse_address(host)
        if literal is not None:
            return [literal]
        addresses = [parse_address(text) for text in await self._resolve(host, port)]
        found = [address for address in addresses if address is not None]
        if not found or len(found) < len(addresses):
            raise _blocked(host, "none that can be read")
        return found

    async def _is_own(self, own: Endpoint, port: int, addresses: list[IPAddress]) -> bool:
        """Tell whether an address leads to an endpoint of the platform."""
        try:
            theirs = await self._lookup(own.host, port)
        except EgressError:
            message = "whether a call leads to the platform itself could not be found out"
            raise EgressError("http_error", message, retryable=True) from None
        if not set(theirs).isdisjoint(addresses):
            return True
        # What listens here may listen on every address of this machine.
        on_this_machine = any(address.is_loopback or address.is_unspecified for address in theirs)
        return on_this_machine and any(is_local(address) for address in addresses)


def _blocked(host: str, found: str) -> EgressError:
    # The address stays out of it: what names mean inside the deployment's network is not for tenants to learn.
    message = f"a request must go to a public address; {host!r} leads to {found}"
    return EgressError("blocked_address", f"{message}. Only whoever runs this installation can allow others")
