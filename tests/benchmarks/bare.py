"""What the accept path is measured beside: a bare FastAPI handler that writes one row and answers 202.

``python -m tests.benchmarks.bare <port> <database URL>``.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import uvicorn
from fastapi import FastAPI, Request

TABLE = "CREATE TABLE bare (id uuid PRIMARY KEY DEFAULT uuidv7(), body text NOT NULL)"


def make_app(url: str, connections: int = 20) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=connections, max_size=connections) as app.state.pool:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)

    @app.post("/bare", status_code=202)
    async def accept(request: Request) -> dict[str, Any]:
        body = await request.body()
        row = await request.app.state.pool.fetchval("INSERT INTO bare (body) VALUES ($1) RETURNING id", body.decode())
        return {"id": str(row)}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_config=None)
