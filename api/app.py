"""The control plane's application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from api import problems
from api.adoption.endpoints import router as runs
from api.agents.endpoints import router as agents
from api.agents.version_endpoints import router as versions
from api.approvals.endpoints import router as approvals
from api.database import Database
from api.dead_letters.endpoints import router as dead_letters
from api.edge import RequestIdMiddleware
from api.events.endpoints import router as events
from api.executions.endpoints import router as executions
from api.forms.endpoints import router as forms
from api.health.endpoints import router as health
from api.inputs.endpoints import router as inputs
from api.notifications import Listener
from api.organizations.isolation import refuse_strangers
from api.organizations.repository import OrganizationRepository
from api.pauses.endpoints import router as pauses
from api.reconciliation.endpoints import router as ended_runs
from api.relay.airflow import AirflowClient
from api.relay.relay import Relay
from api.releases.endpoints import router as releases
from api.runtime.endpoints import router as runtime
from api.settings import Settings
from api.trials.endpoints import router as trials
from api.trials.slots import TrialSlots
from api.upkeep.endpoints import router as upkeep
from api.webhooks.endpoints import router as webhooks
from api.workflows.endpoints import router as workflows
from api.workflows.plans import PlanCache


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its connections open with its lifespan."""
    app = FastAPI(title="Agent Factory", version=version("agent-factory"), lifespan=_lifespan, redirect_slashes=False)
    app.state.settings = settings
    app.state.plans = PlanCache()
    problems.install(app)
    # `/workflows/execute` before `/workflows/{id}/...`.
    public = (health, executions, approvals, dead_letters, pauses, events, workflows, inputs, runs, forms, webhooks)
    designer = (agents, versions, trials)
    for router in (*public, *designer, runtime, ended_runs, releases, upkeep):
        app.include_router(router)
    app.add_middleware(RequestIdMiddleware)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the database, listen, relay; in reverse at the end.

    :raises SettingsError: The settings do not fit what the database holds.
    """
    settings: Settings = app.state.settings
    async with contextlib.AsyncExitStack() as stack:
        database = app.state.database = Database(settings)
        stack.push_async_callback(database.close)
        async with database.transaction() as session:
            await refuse_strangers(session, settings)
            app.state.organization_id = await OrganizationRepository(session).ensure(settings.organization)
        app.state.trials = TrialSlots(settings.trials_per_organization)
        airflow = app.state.airflow = AirflowClient(settings)
        stack.push_async_callback(airflow.close)
        listener = app.state.listener = Listener(settings.async_url)
        await listener.start()
        stack.push_async_callback(listener.stop)
        if settings.relay:
            task = asyncio.create_task(Relay(settings, database, listener, airflow).run(), name="relay")
            stack.push_async_callback(_cancel, task)
        yield


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
