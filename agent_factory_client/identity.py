"""Who may: sessions, API keys, organisations, members, invitations, teams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agent_factory_client.schemas import (
    AccessToken,
    ApiKeyList,
    ApiKeyMade,
    CallerView,
    DeletionView,
    FlowView,
    InvitationList,
    InvitationView,
    MemberList,
    MemberView,
    OrganizationList,
    OrganizationView,
    ProviderList,
    RetentionView,
    SessionList,
    TeamList,
    TeamView,
    TokenAnswer,
    WarmPool,
    WarmPoolsView,
)
from agent_factory_client.transport import Transport, path


class Auth:
    """Sessions of people, and who the caller is."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def log_in(self, email: str, password: str, *, organization: str | None = None) -> TokenAnswer:
        """Begin a session: an access token for minutes, and a refresh token that is good for one use."""
        body = {"email": email, "password": password} | ({"organization": organization} if organization else {})
        return self._transport.json(TokenAnswer, "POST", path("/auth/token"), body=body)

    def refresh(self, refresh_token: str) -> TokenAnswer:
        """Return new tokens. A refresh token that is used twice ends its session."""
        body = {"refresh_token": refresh_token}
        return self._transport.json(TokenAnswer, "POST", path("/auth/refresh"), body=body)

    def oidc_providers(self) -> ProviderList:
        """Return the OpenID Connect providers by which people may log in."""
        return self._transport.json(ProviderList, "GET", path("/auth/oidc"))

    def begin_oidc(self, provider: str, *, back_to: Literal["web", "cli"] = "web") -> FlowView:
        """Begin a login by a provider: where to go, and a token for :meth:`finish_oidc`."""
        return self._transport.json(FlowView, "POST", path("/auth/oidc/{}/begin", provider), body={"back_to": back_to})

    def finish_oidc(
        self,
        provider: str,
        *,
        login_token: str,
        code: str,
        state: str,
        iss: str | None = None,
        organization: str | None = None,
    ) -> TokenAnswer:
        """End a login with what the provider sent back. It can be tried once."""
        body = {"login_token": login_token, "code": code, "state": state, "iss": iss, "organization": organization}
        return self._transport.json(TokenAnswer, "POST", path("/auth/oidc/{}/finish", provider), body=body)

    def switch(self, organization: str) -> AccessToken:
        """Return an access token for another organisation of the caller."""
        return self._transport.json(AccessToken, "POST", path("/auth/switch"), body={"organization": organization})

    def log_out(self) -> None:
        """End the session."""
        self._transport.send("POST", path("/auth/logout"))

    def me(self) -> CallerView:
        """Say who the caller is, and what it may."""
        return self._transport.json(CallerView, "GET", path("/auth/me"))

    def sessions(self) -> SessionList:
        """Return the caller's sessions."""
        return self._transport.json(SessionList, "GET", path("/auth/sessions"))

    def revoke_session(self, session_id: str) -> None:
        """End one of the caller's sessions."""
        self._transport.send("DELETE", path("/auth/sessions/{}", session_id))

    def revoke_sessions(self) -> None:
        """End all of the caller's sessions."""
        self._transport.send("DELETE", path("/auth/sessions"))

    def change_password(self, current_password: str, new_password: str) -> None:
        """Change the caller's password; its other sessions end."""
        body = {"current_password": current_password, "new_password": new_password}
        self._transport.send("PUT", path("/auth/password"), body=body)

    def send_password_link(self, email: str) -> None:
        """Have a link for a new password sent, if the address has an account; the answer does not tell."""
        self._transport.send("POST", path("/auth/password/forgotten"), body={"email": email})

    def reset_password(self, token: str, new_password: str) -> None:
        """Set a new password with the token of a link."""
        self._transport.send("POST", path("/auth/password/reset"), body={"token": token, "new_password": new_password})

    def accept_invitation(self, token: str, *, name: str | None = None, password: str | None = None) -> None:
        """Join an organisation with the token of an invitation; name and password make a new account."""
        body = {"token": token, "name": name, "password": password}
        self._transport.send("POST", path("/auth/invitations/accept"), body=body)


class ApiKeys:
    """Keys for programs."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> ApiKeyList:
        """Return the keys; never the secrets."""
        return self._transport.json(ApiKeyList, "GET", path("/api-keys"))

    def create(self, name: str, permissions: Sequence[str], *, expires_at: str | None = None) -> ApiKeyMade:
        """Make a key, which is shown this once.

        :param permissions: What it may, like ``workflow:read``; never above its maker's role.
        :param expires_at: ISO 8601 with a time zone.
        """
        body = {"name": name, "permissions": [*permissions], "expires_at": expires_at}
        return self._transport.json(ApiKeyMade, "POST", path("/api-keys"), body=body)

    def revoke(self, key_id: str) -> None:
        """Revoke a key: it is refused from now on."""
        self._transport.send("DELETE", path("/api-keys/{}", key_id))


class Organizations:
    """Organisations that the caller sees."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> OrganizationList:
        """Return the organisations."""
        return self._transport.json(OrganizationList, "GET", path("/organizations"))

    def create(self, slug: str, name: str) -> OrganizationView:
        """Make an organisation."""
        body = {"slug": slug, "name": name}
        return self._transport.json(OrganizationView, "POST", path("/organizations"), body=body)

    def rename(self, slug: str, name: str) -> OrganizationView:
        """Give an organisation another name; its slug stays."""
        return self._transport.json(OrganizationView, "PATCH", path("/organizations/{}", slug), body={"name": name})

    def order_deletion(self, slug: str) -> DeletionView:
        """Have an organisation deleted, with all that is in it, when its days of grace are over."""
        body = {"confirm": slug}
        return self._transport.json(DeletionView, "POST", path("/organizations/{}/deletion", slug), body=body)

    def deletion(self, slug: str) -> DeletionView:
        """Return when an organisation is deleted."""
        return self._transport.json(DeletionView, "GET", path("/organizations/{}/deletion", slug))

    def call_off_deletion(self, slug: str) -> None:
        """Keep an organisation after all."""
        self._transport.send("DELETE", path("/organizations/{}/deletion", slug))

    def retention(self) -> RetentionView:
        """Return how many days things are kept."""
        return self._transport.json(RetentionView, "GET", path("/retention"))

    def set_retention(self, *, executions: int | None = None, audit_log: int | None = None) -> RetentionView:
        """Set how many days things are kept; None stands for as long as the platform keeps them."""
        body = {"executions": executions, "audit_log": audit_log}
        return self._transport.json(RetentionView, "PUT", path("/retention"), body=body)

    def warm_pods(self) -> WarmPoolsView:
        """Return which pods are kept started for Python steps."""
        return self._transport.json(WarmPoolsView, "GET", path("/warm-pods"))

    def set_warm_pods(self, pools: Sequence[WarmPool]) -> WarmPoolsView:
        """Set which pods are kept started; what an entry leaves out is as in a workflow."""
        return self._transport.json(WarmPoolsView, "PUT", path("/warm-pods"), body={"pools": [*pools]})


class Members:
    """Members of the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> MemberList:
        """Return the members."""
        return self._transport.json(MemberList, "GET", path("/members"))

    def change(self, user_id: str, role: str) -> MemberView:
        """Give a member another role."""
        return self._transport.json(MemberView, "PUT", path("/members/{}", user_id), body={"role": role})

    def remove(self, user_id: str) -> None:
        """End a membership."""
        self._transport.send("DELETE", path("/members/{}", user_id))


class Invitations:
    """Invitations to the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> InvitationList:
        """Return the invitations that nobody has accepted."""
        return self._transport.json(InvitationList, "GET", path("/invitations"))

    def create(self, email: str, role: str) -> InvitationView:
        """Invite somebody by e-mail."""
        return self._transport.json(InvitationView, "POST", path("/invitations"), body={"email": email, "role": role})

    def revoke(self, invitation_id: str) -> None:
        """Take an invitation back."""
        self._transport.send("DELETE", path("/invitations/{}", invitation_id))


class Teams:
    """Teams of the caller's organisation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> TeamList:
        """Return the teams."""
        return self._transport.json(TeamList, "GET", path("/teams"))

    def create(self, name: str) -> TeamView:
        """Make a team."""
        return self._transport.json(TeamView, "POST", path("/teams"), body={"name": name})

    def remove(self, team_id: str) -> None:
        """Remove a team."""
        self._transport.send("DELETE", path("/teams/{}", team_id))

    def join(self, team_id: str, user_id: str) -> None:
        """Make a member of the organisation one of a team."""
        self._transport.send("PUT", path("/teams/{}/members/{}", team_id, user_id))

    def leave(self, team_id: str, user_id: str) -> None:
        """Take a member out of a team."""
        self._transport.send("DELETE", path("/teams/{}/members/{}", team_id, user_id))
