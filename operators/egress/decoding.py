"""The body of an answer, decoded while it arrives and never beyond its bound: a bomb goes off at the bound."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from operators.egress.errors import EgressError

ACCEPT_ENCODING = "gzip, deflate"
"""What can be decoded in bounded pieces without another package. An answer in any other encoding is refused."""
_GZIP = zlib.MAX_WBITS | 16


class BodyDecoder:
    """Collects a body.

    :param encodings: Content codings of the answer, ``identity`` left out.
    :param limit: Most bytes, both as they come over the wire and decoded.
    """

    def __init__(self, encodings: Sequence[str], limit: int) -> None:
        known = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
        if len(encodings) > 1 or any(encoding not in known for encoding in encodings):
            raise EgressError(
                "invalid_response",
                f"an answer must be encoded with gzip or deflate or not at all; got {encodings[0]!r}"[:200],
            )
        self._encoding = known[encodings[0]] if encodings else None
        self._limit = limit
        self._received = 0
        self._content = bytearray()
        self._head = b""
        self._inflate: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        """Take a piece as it came over the wire.

        :raises EgressError: ``response_too_large``; ``invalid_response`` where it cannot be decoded.
        """
        self._received += len(data)
        if self._received > self._limit:
            raise too_large(self._limit)
        if self._encoding is None:
            self._content += data
        else:
            self._decode(data)

    def finish(self) -> bytes:
        """Return the whole decoded body.

        :raises EgressError: ``invalid_response``: it ends in the middle.
        """
        if self._head:
            self._begin(self._head)
        if self._inflate is not None and not self._inflate.eof:
            raise _broken("ends in the middle")
        return bytes(self._content)

    def _decode(self, data: bytes) -> None:
        if self._inflate is None and self._encoding == "deflate":
            # The first two bytes tell deflate with a header from the raw one that some servers send.
            self._head += data
            if len(self._head) < 2:
                return
            data, self._head = self._head, b""
        while data:
            if self._inflate is None or self._inflate.eof:
                if self._inflate is not None and self._encoding != "gzip":
                    raise _broken("has something behind its end")
                if self._inflate is not None and not (data := data.lstrip(b"\0")):
                    return
                self._inflate = self._new(data)
            data = self._step(data)

    def _begin(self, data: bytes) -> None:
        self._head = b""
        self._inflate = self._new(data)
        self._step(data)

    def _new(self, data: bytes) -> zlib._Decompress:
        if self._encoding == "gzip":
            return zlib.decompressobj(_GZIP)
        has_header = len(data) >= 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
        return zlib.decompressobj(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)

    def _step(self, data: bytes) -> bytes:
        """Decode at most one byte more than is allowed; return what is left of the input."""
        assert self._inflate is not None
        try:
            self._content += self._inflate.decompress(data, self._limit + 1 - len(self._content))
        except zlib.error:
            raise _broken("is not") from None
        if len(self._content) > self._limit:
            raise too_large(self._limit)
        return self._inflate.unconsumed_tail or self._inflate.unused_data


def too_large(limit: int) -> EgressError:
    """Return the error of a body beyond its bound."""
    return EgressError("response_too_large", f"an answer must have at most {limit:,} bytes, decoded; this one has more")


def _broken(how: str) -> EgressError:
    return EgressError("invalid_response", f"an answer must be encoded as its `content-encoding` says; this one {how}")
