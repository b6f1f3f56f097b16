"""Log in by a provider: begin, and finish."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from api.accounts.secrets import digest_of, new_token
from api.accounts.throttling import TOKENS_OF_ADDRESS, Throttle
from api.database import Database
from api.oidc.accounts import AccountFinder
from api.oidc.client import OidcClient, refused
from api.oidc.flows import FLOW_SECONDS, Flow
from api.oidc.repository import FlowRepository
from api.oidc.schemas import FlowCreate, FlowFinish, FlowView
from api.problems import Problem, not_found
from api.sessions.schemas import TokenAnswer
from api.sessions.service import SessionService
from api.settings import Settings


class OidcService:
    """Logins by the providers of this installation."""

    def __init__(
        self, database: Database, settings: Settings, clients: Mapping[str, OidcClient], sessions: SessionService
    ) -> None:
        self._database = database
        self._settings = settings
        self._clients = clients
        self._sessions = sessions
        self._throttle = Throttle(database)

    async def begin(self, name: str, order: FlowCreate) -> FlowView:
        """Begin a login.

        :raises Problem: 404 for an unknown provider; 503 where it does not answer.
        """
        client = self._client(name)
        redirect_uri = client.provider.redirect_uris(self._settings.public_url)[order.back_to == "cli"]
        flow = Flow(new_token("afl"))
        url = await client.authorization_url(
            redirect_uri=redirect_uri, state=flow.state, nonce=flow.nonce, verifier=flow.verifier
        )
        async with self._database.system() as session:
            await FlowRepository(session).add(digest_of(flow.token), name, redirect_uri, lifetime=FLOW_SECONDS)
        return FlowView(
            authorization_url=url,
            redirect_uri=redirect_uri,
            login_token=flow.token.get_secret_value(),
            expires_in=FLOW_SECONDS,
        )

    async def finish(self, name: str, order: FlowFinish, *, address: str, client_name: str) -> TokenAnswer:
        """End a login that this caller began, once.

        :raises Problem: 401 where anything does not fit; 403 where no account is to be had; 429 after too many tries.
        """
        client = self._client(name)
        # Used up whatever comes of it: nothing of a login can be tried twice.
        async with self._database.system() as session:
            found = await FlowRepository(session).take(digest_of(order.login_token))
        flow = Flow(order.login_token)
        fits = (
            found is not None
            and found.provider == name
            and hmac.compare_digest(flow.state.encode(), order.state.encode())
        )
        if found is None or not fits or not await self._is_from(client, order.iss):
            await self._throttle.enter((TOKENS_OF_ADDRESS, address))
            raise refused()
        code = order.code.get_secret_value()
        claims = await client.redeem(code, redirect_uri=found.redirect_uri, nonce=flow.nonce, verifier=flow.verifier)
        async with self._database.system() as session:
            user = await AccountFinder(session, client.provider).account_of(claims)
            begun = await self._sessions.begin(session, user, order.organization, client_name)
        return await self._sessions.tell(begun)

    async def _is_from(self, client: OidcClient, iss: str | None) -> bool:
        """Tell whether an answer is the provider's own (RFC 9207), as far as the provider says so in its answers."""
        if iss is None:
            return not (await client.metadata()).says_iss
        return iss == client.provider.issuer

    def _client(self, name: str) -> OidcClient:
        client = self._clients.get(name)
        if client is None:
            raise not_found("provider", name)
        if self._settings.secret_key is None:
            raise Problem(503, "identity_not_configured", "Set AGENT_FACTORY_SECRET_KEY; without it nobody can log in.")
        return client
