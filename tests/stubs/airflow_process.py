"""The stub of Airflow's REST API on a real port, for relays in processes of their own, some of which it kills.

Each relay has a prefix of its own in the stub's URL, so that the stub knows whose request it is.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.stubs.airflow_server import AirflowStub

MOMENTS = ("before the run is made", "before the answer", "after the answer", "a little later")
LATER_SECONDS = 0.05


@dataclass
class Killing:
    """Kills relays at requests for runs: the same requests with the same seed, at each of the moments in turn.

    :param kill: Kills the relay of a prefix at once.
    :param slow_seconds: How long an answer may take.
    """

    kill: Callable[[str], None]
    seed: int
    requests: int
    count: int
    slow_seconds: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        chosen = self.random.sample(range(self.requests), self.count)
        self._moments = {number: MOMENTS[n % len(MOMENTS)] for n, number in enumerate(chosen)}
        self._seen = 0

    def moment(self) -> str | None:
        """Return when to kill the relay of the next request, if at all."""
        self._seen += 1
        return self._moments.get(self._seen - 1)


class KillingApp:
    """The stub behind prefixes, with kills around the requests that make runs."""

    def __init__(self, app: ASGIApp, killing: Killing) -> None:
        self._app = app
        self._killing = killing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix, path = scope["path"][1:].split("/", 1)
        inner = {**scope, "path": f"/{path}", "raw_path": f"/{path}".encode()}
        makes_run = scope["method"] == "POST" and path.endswith("/dagRuns")
        moment = self._killing.moment() if makes_run else None
        if makes_run and self._killing.slow_seconds:
            await asyncio.sleep(self._killing.random.random() * self._killing.slow_seconds)

        async def send_or_kill(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._kill(prefix, moment, "before the answer")
            await send(message)

        self._kill(prefix, moment, "before the run is made")
        await self._app(inner, receive, send_or_kill)
        self._kill(prefix, moment, "after the answer")
        if moment == "a little later":
            await asyncio.sleep(self._killing.random.random() * LATER_SECONDS)
            self._kill(prefix, moment, "a little later")

    def _kill(self, prefix: str, wanted: str | None, moment: str) -> None:
        if wanted == moment:
            self._killing.kills[moment] += 1
            self._killing.kill(prefix)


@asynccontextmanager
async def serve(stub: AirflowStub, killing: Killing) -> AsyncIterator[str]:
    """Serve a stub; give its base URL, to which a prefix is added."""
    app = KillingApp(stub.app(), killing)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_config=None))
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
