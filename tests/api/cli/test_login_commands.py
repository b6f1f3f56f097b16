"""agent-factory login, logout, whoami, api-keys and operator, against a real server."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from api.cli.main import main
from api.cli.stored_login import login_file, read_login, store_login
from api.settings import Settings
from tests.api.cli.test_remote_commands import own_home  # noqa: F401  fixture
from tests.api.control_plane import ControlPlane
from tests.api.identity.people import PASSWORD, People

pytestmark = pytest.mark.platform


async def run(*arguments: str, input: str | None = None) -> Result:
    """Run a command beside the server, which lives in this thread."""
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), input=input)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"secret_key": SecretStr("k" * 32)})


@pytest.fixture
async def people(control_plane: ControlPlane, served_url: str, monkeypatch: pytest.MonkeyPatch) -> People:
    people = People(control_plane)
    await people.user("ann@x.test", "organization_owner")
    monkeypatch.setenv("AGENT_FACTORY_API_URL", served_url)
    return people


async def log_in() -> Result:
    return await run("login", "--email", "ann@x.test", "--password-stdin", input=f"{PASSWORD}\n")


class TestLogin:
    async def test_kept_for_its_owner_only(self, people: People) -> None:
        result = await log_in()
        assert result.exit_code == 0, result.output
        assert "organization_owner of default" in result.stdout
        assert PASSWORD not in result.output
        assert stat.S_IMODE(login_file().stat().st_mode) == 0o600
        assert stat.S_IMODE(login_file().parent.stat().st_mode) == 0o700
        assert json.loads((await run("whoami")).stdout)["email"] == "ann@x.test"
        login = read_login()
        assert login is not None
        assert login.refresh_token not in repr(login)

    async def test_wrong_password(self, people: People) -> None:
        result = await run("login", "--email", "ann@x.test", "--password-stdin", input="wrong password\n")
        assert (result.exit_code, result.stderr) == (1, "Error: E-mail address or password is wrong.\n")
        assert read_login() is None

    async def test_refreshed_by_itself_by_one_at_a_time(self, people: People) -> None:
        await log_in()
        login = read_login()
        assert login is not None
        login.valid_until = 0.0
        store_login(login)
        results = await asyncio.gather(*[run("whoami") for _ in range(3)])
        assert [result.exit_code for result in results] == [0, 0, 0], [result.output for result in results]
        later = read_login()
        assert later is not None
        assert later.refresh_token != login.refresh_token

    async def test_over(self, people: People) -> None:
        await log_in()
        login = read_login()
        assert login is not None
        login.valid_until = 0.0
        store_login(login)
        await people.sql("UPDATE user_sessions SET revoked_at = now()")
        result = await run("whoami")
        assert result.exit_code == 1
        assert "`agent-factory login` makes a new one" in result.stderr

    async def test_logout(self, people: People) -> None:
        await log_in()
        assert (await run("logout")).stdout == "Logged out.\n"
        assert not login_file().exists()
        assert await people.sql("SELECT count(*) FROM user_sessions WHERE revoked_at IS NULL") == 0
        assert (await run("logout")).stdout == "Nobody is logged in.\n"

    async def test_not_sent_to_another_control_plane(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        await log_in()
        monkeypatch.setenv("AGENT_FACTORY_API_URL", "http://127.0.0.1:9")
        result = await run("whoami")
        assert result.exit_code == 1
        assert "No control plane is known" in result.stderr


async def test_api_keys(people: People) -> None:
    await log_in()
    made = json.loads((await run("api-keys", "create", "CI", "--permission", "workflow:*")).stdout)
    listed = (await run("api-keys", "list")).stdout
    assert "CI: workflow:*" in listed
    assert made["key"] not in listed
    assert (await people.with_token(made["key"]).get("/api/v1/auth/me")).status_code == 200
    assert (await run("api-keys", "revoke", made["id"])).stdout == "revoked\n"
    assert (await people.with_token(made["key"]).get("/api/v1/auth/me")).status_code == 401
    result = await run("api-keys", "create", "CI", "--permission", "platform:organizations")
    assert (result.exit_code, "beyond the role" in result.stderr) == (1, True)


class TestOperator:
    @pytest.fixture(autouse=True)
    def environment(self, people: People, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_DATABASE_URL", settings.database_url)
        monkeypatch.setenv("AGENT_FACTORY_RUNTIME_TOKEN", "r")
        monkeypatch.setenv("AGENT_FACTORY_SECRET_KEY", "k" * 32)

    async def test_links(self, people: People) -> None:
        link = (await run("operator", "password-link", "Ann@x.test")).stdout.strip()
        body = {"token": link.partition("#token=")[2], "new_password": "another good password"}
        assert (await people.plane.public.post("/api/v1/auth/password/reset", json=body)).status_code == 204
        link = (await run("operator", "invitation-link", "bob@x.test", "--role", "viewer")).stdout.strip()
        body = {"token": link.partition("#token=")[2], "name": "Bob", "password": "another good password"}
        assert (await people.plane.public.post("/api/v1/auth/invitations/accept", json=body)).status_code == 204
        assert (await people.log_in("bob@x.test", "another good password")).json()["role"] == "viewer"

    async def test_admin_and_disable(self, people: People) -> None:
        assert (await run("operator", "admin", "ann@x.test")).exit_code == 0
        assert (await people.log_in("ann@x.test")).json()["role"] == "admin"
        assert (await run("operator", "disable", "ann@x.test")).exit_code == 0
        assert (await people.log_in("ann@x.test")).status_code == 401
        assert (await run("operator", "disable", "ann@x.test", "--enable")).exit_code == 0
        assert (await people.log_in("ann@x.test")).status_code == 200

    async def test_rotate_keys(self, people: People) -> None:
        token = (await people.log_in("ann@x.test")).json()["access_token"]
        assert (await run("operator", "rotate-keys", "--at-once")).exit_code == 0
        people.plane.app.state.keys._read_at = float("-inf")
        assert (await people.with_token(token).get("/api/v1/auth/me")).status_code == 401

    @pytest.mark.parametrize("command", ["password-link", "admin", "disable"])
    async def test_unknown_address(self, people: People, command: str) -> None:
        result = await run("operator", command, "nobody@x.test")
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert "no account of nobody@x.test" in result.stderr
