"""HTTP addresses: one strict reading of a URL, for the compiler's check and for the request itself.

Parsers disagree about odd URLs, and a guard that reads a URL differently from the client behind it is none. So there is
one parser, it refuses what others might read otherwise, and only its result is ever used to connect.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, cast
from urllib.parse import quote, urljoin

Scheme = Literal["http", "https"]

MAX_URL = 16_384
MAX_HOST = 253
DEFAULT_PORTS: dict[Scheme, int] = {"http": 80, "https": 443}

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_PORT = re.compile(r"[0-9]{1,5}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_ENDS_IN_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
"""What browsers and the C library read as an IPv4 address, in one of its many old spellings."""
_OTHER_DOTS = frozenset("\u3002\uff0e\uff61\u2024\ufe52")
"""Characters that IDNA turns into a dot."""
_PATH_SAFE = "/:@!$&'()*+,;=~%"
_QUERY_SAFE = _PATH_SAFE + "?[]|^`{}"


class UrlError(Exception):
    """A text is no URL that may be called. The message begins with what the URL must be; it never holds the URL, which
    may have secrets in it."""


@dataclass(frozen=True, slots=True)
class Url:
    """A URL that was read: ASCII throughout, without userinfo and fragment.

    :param host: Name in lower case (IDNA-encoded), or an IP address in its canonical form and without brackets.
    :param target: Path and query as they stand in the request line.
    """

    scheme: Scheme
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, the port left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str) -> Url:
    """Read an absolute ``http`` or ``https`` URL.

    Non-ASCII characters and spaces of path and query are percent-encoded; a fragment is dropped.

    :raises UrlError: It is none, has userinfo, or its host has a form that parsers disagree about.
    """
    _check_characters(text)
    scheme, rest = _split_scheme(text)
    authority, target = _split_authority(rest)
    if "@" in authority:
        raise _has_userinfo()
    host, port = _split_port(authority)
    return Url(
        scheme=scheme,
        host=_ip_literal(host) if host.startswith("[") else _name(host),
        port=DEFAULT_PORTS[scheme] if port is None else port,
        target=_encoded(target),
    )


def join_url(base: Url, reference: str) -> Url:
    """Return where a redirect's ``Location`` leads.

    :raises UrlError: As :func:`parse_url`.
    """
    _check_characters(reference)
    if _SCHEME.match(reference):
        return parse_url(reference)
    if reference.startswith("//"):
        return parse_url(f"{base.scheme}:{reference}")
    # Only path and query are joined, so that the origin cannot change, whatever the reference holds.
    path, mark, query = reference.partition("#")[0].partition("?")
    old_path, _, old_query = base.target.partition("?")
    if not path:
        path, query = old_path, query if mark else old_query
    elif not path.startswith("/"):
        path = urljoin(old_path, "./" + path)
    return parse_url(f"{base.origin}/{path.removeprefix('/')}" + (f"?{query}" if query else ""))


def check_beginning(text: str) -> None:
    """Check as much of a URL as stands before its first expression.

    :raises UrlError: Whatever the expressions give, it can be no URL that may be called.
    """
    if not any(scheme.startswith(text[: len(scheme)].lower()) for scheme in ("http://", "https://")):
        raise _wrong_scheme()
    authority, slash, _ = text.partition("://")[2].partition("/")
    if slash:
        parse_url(text)
    elif "@" in authority:
        raise _has_userinfo()


def _check_characters(text: str) -> None:
    if len(text) > MAX_URL:
        raise UrlError(f"must have at most {MAX_URL:,} characters")
    if text != text.strip():
        raise UrlError("must have no spaces around it")
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        raise UrlError("must have no control characters and line breaks in it")


def _wrong_scheme() -> UrlError:
    return UrlError("must begin with http:// or https://")


def _has_userinfo() -> UrlError:
    return UrlError("must have no user name or password in front of the host; send a header instead")


def _split_scheme(text: str) -> tuple[Scheme, str]:
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() not in DEFAULT_PORTS:
        raise _wrong_scheme()
    return cast(Scheme, scheme.lower()), rest


def _split_authority(rest: str) -> tuple[str, str]:
    """Return the authority, and path and query with a slash in front."""
    end = re.search(r"[/?#]", rest)
    authority, target = (rest, "") if end is None else (rest[: end.start()], rest[end.start() :])
    target = target.partition("#")[0]
    return authority, target if target.startswith("/") else "/" + target


def _split_port(authority: str) -> tuple[str, int | None]:
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, None
    if _PORT.fullmatch(port) is None or not 1 <= int(port) <= 65_535:
        raise UrlError("must have a port from 1 to 65535 after the colon, or no colon")
    return host, int(port)


def _ip_literal(host: str) -> str:
    try:
        if not host.endswith("]") or "%" in host:
            raise ValueError
        return ipaddress.IPv6Address(host[1:-1]).compressed
    except ValueError:
        raise UrlError("must have an IPv6 address without a zone between [ and ]") from None


def _name(host: str) -> str:
    """Return a host name, or an IPv4 address in its one plain form."""
    if not host:
        raise UrlError("must have a host")
    name = (host if host.isascii() else _idna(host)).lower()
    if _ENDS_IN_NUMBER.fullmatch(name.rstrip(".")):
        return _ipv4(name)
    if len(name) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise UrlError("must have a host of letters, digits and -, in parts with a dot between them")
    return name


def _ipv4(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise UrlError("must have an IPv4 address as four decimal numbers, without leading zeros") from None


def _idna(host: str) -> str:
    # Imported here: few workflows need it.
    import idna

    try:
        if _OTHER_DOTS & set(host):
            raise UrlError("must have plain dots in its host")
        # Without the mappings of UTS 46: what is not the canonical spelling of a name is refused, not repaired.
        return idna.encode(host).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise UrlError("must have a host whose letters are allowed in domain names (IDNA 2008)") from None


def _encoded(target: str) -> str:
    path, mark, query = target.partition("?")
    try:
        return quote(path, safe=_PATH_SAFE) + mark + quote(query, safe=_QUERY_SAFE)
    except UnicodeError:
        raise UrlError("must be UTF-8; it has half of a surrogate pair") from None
