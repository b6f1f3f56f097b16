"""The table of rate limits: how many requests a caller may send to an endpoint in a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from limits import RateLimitItem, parse


@dataclass(frozen=True)
class Rate:
    """A row of the table.

    :param name: What settings and header fields call it.
    :param prefix: Route templates that begin with these segments; empty for all that no other row names.
    :param item: How many in what time; None for no limit.
    """

    name: str
    prefix: str
    item: RateLimitItem | None


TABLE = (
    Rate("agents", "/api/v1/agents", parse("100/minute")),
    Rate("execute", "/api/v1/workflows/execute", parse("50/minute")),
    Rate("integrations", "/api/v1/integrations", parse("200/minute")),
    # Counted for each webhook, whoever calls: senders share addresses, and one has many.
    Rate("webhook", "/webhook", parse("600/minute")),
    # Probes and Prometheus are let through, and so are workers, who hold a token of their own.
    Rate("health", "/health", None),
    Rate("ready", "/ready", None),
    Rate("metrics", "/metrics", None),
    Rate("runtime", "/runtime/v1", None),
    Rate("default", "", parse("60/minute")),
)
"""The first row that fits counts."""


class Rates:
    """The table as it is set."""

    def __init__(self, rows: tuple[Rate, ...]) -> None:
        self._rows = rows
        self._of: Mapping[str, Rate] = {}

    def of(self, template: str) -> Rate:
        """Return the row of a route, by its template, which strangers cannot vary by case, slashes or escapes."""
        for row in self._rows:
            if template == row.prefix or template.startswith(f"{row.prefix}/") or not row.prefix:
                return row
        raise AssertionError("the last row has every route")


@lru_cache(maxsize=16)
def parse_rates(text: str) -> Rates:
    """Return the table with the changes of a setting.

    :raises ValueError: It names no row, or no rate.
    """
    if text.strip().lower() == "off":
        return Rates(tuple(replace(row, item=None) for row in TABLE))
    rows = {row.name: row for row in TABLE}
    for change in filter(None, (part.strip() for part in text.split(","))):
        name, _, rate = (part.strip() for part in change.partition("="))
        if name not in rows:
            raise ValueError(f"must be 'off' or changes like 'execute=100/minute' of {', '.join(rows)}; got {name!r}")
        rows[name] = replace(rows[name], item=_parse_rate(rate))
    return Rates(tuple(rows.values()))


def _parse_rate(text: str) -> RateLimitItem | None:
    if text.lower() == "off":
        return None
    try:
        item = parse(text)
    except ValueError:
        item = None
    if item is None or item.amount < 1:
        raise ValueError(f"must say rates like '100/minute' or 'off'; got {text[:40]!r}")
    return item
