"""A receiver of messages: a real HTTP server that keeps what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI, Request, Response

from api.deliveries.dispatcher import Dispatcher
from api.settings import Settings
from operators.egress import EgressClient, EgressPolicy
from tests.api.control_plane import ControlPlane


@dataclass
class Receiver:
    """What came, and what is answered: a status for each message in turn, then the last one."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.messages.append((dict(request.headers), await request.body()))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return Response(status_code=status, headers={"location": "/elsewhere"} if status == 302 else {})


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Serve a receiver at a port of this machine."""
    receiver, app = Receiver(), FastAPI()
    app.add_api_route("/{path:path}", receiver.answer, methods=["POST", "GET"])
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None))
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.005)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def dispatching(
    plane: ControlPlane, *, allow: str = "127.0.0.1", settings: Settings | None = None
) -> AsyncIterator[Dispatcher]:
    """A dispatcher that may reach hosts of this machine."""
    egress = EgressClient(EgressPolicy.parse(allow))
    state = plane.app.state
    try:
        yield Dispatcher(settings or state.settings, plane.database, state.listener, egress)
    finally:
        await egress.close()


async def make_due(plane: ControlPlane) -> None:
    """Let the time of the next attempt have come."""
    from sqlalchemy import text

    async with plane.database.system() as session:
        await session.execute(text("UPDATE webhook_deliveries SET available_at = now() WHERE status = 'pending'"))
