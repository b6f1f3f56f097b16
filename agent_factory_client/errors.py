"""What can go wrong between a client and the control plane."""

from __future__ import annotations

from typing import Any

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed a little later."""


class ConnectionFailed(Exception):
    """No control plane answers at the address, or the connection was lost on the way."""


class NotAControlPlane(Exception):
    """Something answers at the address, but not as a control plane does."""


class ApiError(Exception):
    """The control plane refuses; the message is the problem's ``detail``: the rule, what it got, the fix.

    :param status: The HTTP status.
    :param problem: The problem document (RFC 9457).
    :param retry_after: How many seconds to wait before the next try, where the answer says so.
    """

    def __init__(self, status: int, problem: dict[str, Any], retry_after: float | None = None) -> None:
        super().__init__(str(problem.get("detail") or f"The control plane answered HTTP {status}."))
        self.status = status
        self.problem = problem
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The problem's code, for programs: it stays as it is."""
        return str(self.problem.get("code", ""))

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status in PASSING
