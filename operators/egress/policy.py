"""What a deployment lets steps reach beyond the public network, and its own ports, which they never reach."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from compiler.urls import UrlError, parse_url
from operators.egress.addresses import NAT64, IPAddress, is_metadata, parse_address, why_not_public


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host, and a port where only that one is meant."""

    host: str
    port: int | None = None

    def covers(self, host: str, port: int) -> bool:
        """Tell whether a host and port are meant; the host as ``parse_url`` writes it."""
        return self.host == host and self.port in (None, port)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What steps may reach. Without arguments: public addresses only.

    :param hosts: Names and addresses that are allowed although they are not public.
    :param networks: The same for all addresses of a network.
    :param own: What belongs to the platform. It is refused whatever else is allowed.
    """

    hosts: tuple[Endpoint, ...] = ()
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    own: tuple[Endpoint, ...] = ()

    @classmethod
    def parse(cls, allow: str, *, own: tuple[Endpoint, ...] = ()) -> EgressPolicy:
        """Read a comma list of ``host``, ``host:port`` and networks such as ``10.1.0.0/16``.

        :raises ValueError: An entry is none of these; the message says which.
        """
        hosts: list[Endpoint] = []
        networks: list[IPv4Network | IPv6Network] = []
        for entry in filter(None, (part.strip() for part in allow.split(","))):
            try:
                if "/" in entry:
                    networks.append(ip_network(entry))
                else:
                    hosts.append(_endpoint(entry))
            except (ValueError, UrlError) as error:
                raise ValueError(
                    f"must be a comma list of host, host:port and networks like 10.1.0.0/16; got {entry!r}: {error}"
                ) from None
        return cls(tuple(hosts), tuple(networks), own)

    def refusal(self, host: str, port: int, address: IPAddress) -> str | None:
        """Return what speaks against a connection, or None.

        :param host: What the address was found for; the address itself where the URL has one.
        """
        kind = why_not_public(address)
        if kind is None:
            return None
        if is_metadata(address):
            return kind
        # Where the deployer allows a translation prefix, the translator leads to the IPv4 address: that one counts.
        if address in NAT64 and any(address in network for network in self.networks):
            return self.refusal(host, port, IPv4Address(address.packed[12:]))
        return None if self._allows(host, port, address) else kind

    def _allows(self, host: str, port: int, address: IPAddress) -> bool:
        if any(address in network for network in self.networks):
            return True
        return any(entry.covers(host, port) or entry.covers(str(address), port) for entry in self.hosts)


def _endpoint(entry: str) -> Endpoint:
    """Read ``host`` or ``host:port``; a bare IPv6 address may stand without brackets."""
    address = parse_address(entry)
    if isinstance(address, IPv6Address):
        return Endpoint(address.compressed)
    url = parse_url(f"http://{entry}")
    if url.target != "/" or "?" in entry or "#" in entry:
        raise ValueError("it has a path")
    has_port = not entry.endswith("]") and ":" in entry
    return Endpoint(url.host, url.port if has_port else None)


def is_local(address: IPAddress) -> bool:
    """Tell whether an address is one of this machine's own: nobody can bind another's."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((str(address), 0))
    except OSError as error:
        return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL)
    return True
