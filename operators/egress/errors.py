"""The error of calls to the outside."""

from __future__ import annotations

from typing import Literal

EgressCode = Literal[
    "blocked_address",
    "http_error",
    "invalid_config",
    "invalid_redirect",
    "invalid_response",
    "response_too_large",
    "timeout",
    "too_many_redirects",
]


class EgressError(Exception):
    """A call failed. The message names at most the host, never path, query, headers or an address that was found.

    :param retryable: Whether another attempt can help.
    """

    def __init__(self, code: EgressCode, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
