"""The control plane's application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import httpx
from fastapi import Depends, FastAPI

from api import problems
from api.accounts.endpoints import router as accounts
from api.accounts.owner import ensure_owner
from api.adoption.endpoints import router as runs
from api.agents.endpoints import router as agents
from api.agents.version_endpoints import router as versions
from api.api_keys.endpoints import router as api_keys
from api.approvals.endpoints import router as approvals
from api.audit.endpoints import router as audit
from api.audit.trail import start_trail
from api.auth import declare_permissions
from api.database import Database
from api.dead_letters.endpoints import router as dead_letters
from api.deletion.endpoints import router as deletion
from api.deliveries.endpoints import router as deliveries
from api.deliveries.sending import deliver
from api.events.endpoints import router as events
from api.executions.endpoints import router as executions
from api.executions.live.stream import Streams
from api.forms.endpoints import router as forms
from api.gateway import openapi
from api.gateway.admission import count_strangers
from api.gateway.bounds import BoundsMiddleware
from api.gateway.counting import Counter
from api.gateway.headers import CorsMiddleware, HeadersMiddleware
from api.gateway.observation import ObservationMiddleware
from api.health.endpoints import router as health
from api.identity.callers import Authenticator
from api.inputs.endpoints import router as inputs
from api.invitations.endpoints import router as invitations
from api.mail.mailer import make_mailer
from api.members.endpoints import router as members
from api.metrics.endpoints import router as metrics
from api.namespaces.endpoints import router as warm_pods
from api.notifications import Listener
from api.objects.endpoints import router as outputs
from api.objects.endpoints import workers as outputs_of_workers
from api.oidc.client import OidcClient
from api.oidc.endpoints import router as oidc
from api.organizations.endpoints import router as organizations
from api.organizations.repository import OrganizationRepository
from api.pauses.endpoints import router as pauses
from api.reconciliation.endpoints import router as ended_runs
from api.relay.airflow import AirflowClient
from api.relay.relay import Relay
from api.releases.endpoints import router as releases
from api.retention.endpoints import router as retention
from api.reviews.endpoints import router as reviews
from api.runtime.endpoints import router as runtime
from api.sessions.endpoints import router as sessions
from api.settings import Settings
from api.signing.endpoints import router as signing
from api.signing.keys import KeyRing
from api.starting import check
from api.subscriptions.endpoints import router as subscriptions
from api.teams.endpoints import router as teams
from api.templates.endpoints import router as templates
from api.transfers.endpoints import imports
from api.transfers.endpoints import router as exports
from api.trials.endpoints import router as trials
from api.trials.slots import TrialSlots
from api.upkeep.endpoints import router as upkeep
from api.variables.endpoints import router as variables
from api.webhooks.endpoints import router as webhooks
from api.webhooks.jwks import IssuerKeys
from api.workflows.endpoints import router as workflows
from api.workflows.plans import PlanCache
from operators.egress import EgressClient
from operators.settings import egress_policy
from operators.tls import public_context


def create_app(settings: Settings) -> FastAPI:
    """Return the application; its connections open with its lifespan."""
    app = FastAPI(
        title="Agent Factory",
        version=version("agent-factory"),
        lifespan=_lifespan,
        redirect_slashes=False,
        dependencies=[Depends(count_strangers), Depends(start_trail)],
        # Their pages run scripts of a foreign host where people enter tokens.
        docs_url=None,
        redoc_url=None,
    )
    app.state.settings = settings
    app.state.plans = PlanCache()
    problems.install(app)
    # `/workflows/execute` before `/workflows/{id}/...`.
    public = (health, metrics, executions, approvals, dead_letters, pauses, events, workflows, inputs, runs, forms)
    identity = (sessions, oidc, accounts, api_keys, organizations, members, invitations, teams, signing)
    designer = (agents, versions, templates, reviews, exports, imports, trials, variables)
    governance = (audit, retention, deletion, warm_pods)
    messages = (deliveries, subscriptions)
    for router in (
        *public,
        webhooks,
        *messages,
        *designer,
        *identity,
        *governance,
        runtime,
        outputs,
        outputs_of_workers,
        ended_runs,
        releases,
        upkeep,
    ):
        declare_permissions(router.routes)
        app.include_router(router)
    openapi.install(app)
    # The last one added is the outermost.
    for middleware in (BoundsMiddleware, CorsMiddleware, ObservationMiddleware, HeadersMiddleware):
        app.add_middleware(middleware)
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
        await check(database, settings)
        async with database.system() as session:
            operated = app.state.organization_id = await OrganizationRepository(session).ensure(settings.organization)
        await ensure_owner(database, settings, operated)
        keys = app.state.keys = KeyRing(settings, database)
        app.state.authenticator = Authenticator(settings, database, keys, operated)
        egress = EgressClient(egress_policy())
        stack.push_async_callback(egress.close)
        app.state.issuer_keys = IssuerKeys(egress)
        app.state.mailer = make_mailer(settings)
        http = await stack.enter_async_context(
            httpx.AsyncClient(timeout=10.0, follow_redirects=False, verify=public_context())
        )
        app.state.oidc = {provider.name: OidcClient(provider, http) for provider in settings.oidc_providers}
        counter = app.state.counter = Counter(settings.redis_url)
        stack.push_async_callback(counter.close)
        app.state.trials = TrialSlots(settings.trials_per_organization)
        airflow = app.state.airflow = AirflowClient(settings)
        stack.push_async_callback(airflow.close)
        app.state.streams = Streams(settings.max_event_streams)
        listener = app.state.listener = Listener(settings.async_url)
        await listener.start()
        stack.push_async_callback(listener.stop)
        if settings.relay:
            task = app.state.relay = asyncio.create_task(
                Relay(settings, database, listener, airflow).run(), name="relay"
            )
            stack.push_async_callback(_cancel, task)
            sender = asyncio.create_task(deliver(settings, database, listener, egress), name="deliveries")
            stack.push_async_callback(_cancel, sender)
        yield


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
