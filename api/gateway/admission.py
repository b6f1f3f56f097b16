"""Rate limits at the door: a caller is counted when it is known, anybody else by address.

The count is made where the caller is authenticated and not before, so that a made-up token has no count of its own.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant
from starlette.datastructures import State

from api.gateway.counting import Counter
from api.gateway.rates import Rate, parse_rates
from api.gateway.routes import route_template
from api.metrics.registry import RATE_LIMITED
from api.problems import Problem

CallerT = TypeVar("CallerT")

_COUNTS = "counts_requests"


def counted(
    identify: Callable[[CallerT], str],
) -> Callable[[Callable[..., CallerT | Awaitable[CallerT]]], Callable[..., Awaitable[CallerT]]]:
    """Count the requests of an authenticating dependency, which has a parameter ``request``.

    Those that it refuses with 401 count for their address.

    :param identify: Says who a caller is: one text for one caller, for ever.
    """

    def decorate(authenticate: Callable[..., CallerT | Awaitable[CallerT]]) -> Callable[..., Awaitable[CallerT]]:
        @functools.wraps(authenticate)
        async def admit(*args: Any, request: Request, **kwargs: Any) -> CallerT:
            try:
                found = authenticate(*args, request=request, **kwargs)
                caller: CallerT = await found if inspect.isawaitable(found) else found
            except Problem as problem:
                if problem.status == 401:
                    await count_request(request, address_of(request))
                raise
            request.state.organization_id = getattr(caller, "organization_id", None)
            await count_request(request, identify(caller))
            return caller

        setattr(admit, _COUNTS, True)
        return admit

    return decorate


async def count_strangers(request: Request) -> None:
    """Count requests to routes where nobody is authenticated; a dependency of the application.

    Webhooks count themselves, once it is known that there is such a webhook.
    """
    route = request.scope.get("route")
    template = route_template(request.scope)
    if template.startswith("/webhook/") or _authenticates(getattr(route, "dependant", None)):
        return
    await count_request(request, address_of(request))


def _authenticates(dependant: Dependant | None) -> bool:
    if dependant is None:
        return False
    return getattr(dependant.call, _COUNTS, False) or any(map(_authenticates, dependant.dependencies))


async def count_webhook(request: Request, organization: str, path: str) -> None:
    """Count a request for its webhook, whoever sends it.

    :raises Problem: 429.
    """
    await count_request(request, f"webhook:{organization}/{path}")


async def count_request(request: Request, identity: str) -> None:
    """Count a request of somebody to the endpoint it is routed to, and note the answer's header fields.

    :raises Problem: 429.
    """
    state: State = request.app.state
    counter: Counter | None = getattr(state, "counter", None)
    template = route_template(request.scope)
    rate = parse_rates(state.settings.rate_limits).of(template)
    if counter is None or rate.item is None:
        return
    count = await counter.hit(rate.item, identity, request.method, template)
    quota, window = rate.item.amount, rate.item.get_expiry()
    fields = {
        "ratelimit-policy": f'"{rate.name}";q={quota};w={window}',
        "ratelimit": f'"{rate.name}";r={count.remaining};t={count.reset}',
    }
    request.state.rate_fields = fields
    if not count.allowed:
        RATE_LIMITED.labels(rate.name).inc()
        raise _too_many(rate, quota, window, count.reset)


def _too_many(rate: Rate, quota: int, window: int, reset: int) -> Problem:
    detail = f"At most {quota} requests in {window} s are taken here ({rate.name}); try again in {reset} s."
    return Problem(429, "rate_limited", detail, headers={"retry-after": str(reset)})


def address_of(request: Request) -> str:
    """Return whose address a request comes from; a network of IPv6 is one address, for anybody has all of it.

    What proxies tell of it was looked at by the server, and only where they are trusted.
    """
    host = request.client.host if request.client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "address:unknown"
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        return f"address:{mapped or ipaddress.ip_network((int(address) >> 64 << 64, 64))}"
    return f"address:{address}"
