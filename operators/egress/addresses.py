"""Which IP addresses are public: the tables of what is not.

``ipaddress.is_global`` is not enough: it lets translated, relayed and documentation addresses pass. IPv6 is read the
other way round: only global unicast (2000::/3) can be public, less what is listed.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

IPAddress = IPv4Address | IPv6Address

_IPV4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", "'this network'"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "private (carrier-grade NAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_IPV6_GLOBAL = IPv6Network("2000::/3")
_IPV6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        # Named for a better message; none of them is global unicast.
        ("::1/128", "loopback"),
        ("::/128", "unspecified"),
        ("::ffff:0:0/96", "an IPv4 address in IPv6 form"),
        ("::ffff:0:0:0/96", "a translated IPv4 address"),
        ("::/96", "an IPv4 address in IPv6 form"),
        ("64:ff9b::/96", "translated (NAT64)"),
        ("64:ff9b:1::/48", "translated (NAT64)"),
        ("100::/64", "discarded"),
        ("5f00::/16", "for segment routing"),
        ("fc00::/7", "private (unique local)"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
        # Global unicast by its first bits, and yet not the public network. 2001::/23 has Teredo, ORCHID, benchmarks.
        ("2001::/23", "reserved for protocols"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "a 6to4 relay"),
        ("3fff::/20", "for documentation"),
    )
)
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""Interface identifiers with an IPv4 address behind them (RFC 5214)."""
NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix: the IPv4 address is the last four bytes (RFC 6052)."""

_METADATA = frozenset(
    ip_address(address)
    for address in (
        "169.254.169.254",  # AWS, Google, Azure, Oracle, DigitalOcean and more
        "169.254.170.2",  # AWS ECS task roles
        "169.254.170.23",  # AWS EKS Pod Identity
        "168.63.129.16",  # Azure's platform channel: a public address
        "100.100.100.200",  # Alibaba
        "192.0.0.192",  # Oracle, classic
        "169.254.42.42",  # Scaleway
        "169.254.0.23",  # Tencent
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS Pod Identity
        "fd20:ce::254",  # Google
        "fd00:42::42",  # Scaleway
    )
)
_EMBEDDED_IPV4 = (
    (12, 13, 14, 15),  # mapped, compatible, translated, NAT64 /96, ISATAP
    (2, 3, 4, 5),  # 6to4
    (4, 5, 6, 7),  # NAT64 /32
    (5, 6, 7, 9),
    (6, 7, 9, 10),
    (7, 9, 10, 11),
    (9, 10, 11, 12),  # NAT64 /64
)
"""Where the bytes of an IPv4 address can stand in one of IPv6 (RFC 6052, 3056, 4291)."""


def parse_address(text: str) -> IPAddress | None:
    """Return an address without its zone, or None where the text is none. A zone changes nothing of where it leads."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


def why_not_public(address: IPAddress) -> str | None:
    """Return what an address is if it is not public ("loopback", "private"), else None."""
    if is_metadata(address):
        return "a cloud's metadata service"
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _IPV4 if address in network), None)
    for network, kind in _IPV6:
        if address in network:
            return kind
    if address not in _IPV6_GLOBAL:
        return "not global unicast"
    return "an IPv4 address in IPv6 form" if address.packed[8:12] in _ISATAP else None


def is_metadata(address: IPAddress) -> bool:
    """Tell whether a cloud's metadata or credential service is behind an address, in whatever form it is written."""
    if address in _METADATA:
        return True
    if isinstance(address, IPv4Address):
        return False
    packed = address.packed
    teredo = IPv4Address(bytes(byte ^ 0xFF for byte in packed[12:]))
    embedded = {IPv4Address(bytes(packed[index] for index in places)) for places in _EMBEDDED_IPV4}
    return not _METADATA.isdisjoint({*embedded, teredo})
