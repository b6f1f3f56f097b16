"""Settings from the environment."""

from __future__ import annotations

import pytest

from api.settings import Settings, SettingsError, load_settings
from api.subscriptions.event_types import EVENT_TYPES

pytestmark = pytest.mark.unit

NEEDED = {
    "DATABASE_URL": "postgresql://u:p%40ss@localhost/db?host=/run/sockets",
    "RUNTIME_TOKEN": "r",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    import os

    for name in [name for name in os.environ if name.startswith("AGENT_FACTORY_")]:
        monkeypatch.delenv(name)
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"AGENT_FACTORY_{name}", value)
    return monkeypatch


def test_both_drivers_use_the_socket(environment: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    for url in (settings.async_url, settings.sync_url):
        arguments = url.get_dialect()().create_connect_args(url)[1]
        assert (arguments["host"], arguments["user"], arguments["password"]) == ("/run/sockets", "u", "p@ss")


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("value", [None, " "])
def test_missing_or_empty(environment: pytest.MonkeyPatch, name: str, value: str | None) -> None:
    if value is None:
        environment.delenv(f"AGENT_FACTORY_{name}")
    else:
        environment.setenv(f"AGENT_FACTORY_{name}", value)
    with pytest.raises(SettingsError, match=f"AGENT_FACTORY_{name}"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", " "),
        ("SECRET_KEY", "hidden"),
        ("SMTP_SENDER", "hidden"),
        ("DATABASE_URL", "mysql://u:hidden@h/db"),
        ("API_PORT", "0"),
        ("ORGANIZATION", "Not A Slug"),
        ("RELAY", "hidden"),
        ("AMQP_URL", "hidden"),
        ("AMQP_URL", "redis://u:hidden@h/"),
        ("AMQP_URL", "amqp://u:hidden@/"),
        ("AMQP_URL", "amqp://u:hidden@h:port/"),
        ("AMQP_EXCHANGE", "amq.topic"),
        ("AMQP_EXCHANGE", "hid den"),
        ("AMQP_EVENT_TYPES", "agent.created,agent.lost"),
    ],
)
def test_wrong(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"AGENT_FACTORY_{name}", value)
    with pytest.raises(SettingsError, match=f"AGENT_FACTORY_{name}") as error:
        load_settings()
    assert "hidden" not in str(error.value)
    assert "\n" not in str(error.value)


def test_secrets_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AGENT_FACTORY_API_TOKEN", "s3cret-token")
    environment.setenv("OPENAI_API_KEY", "s3cret-key")
    environment.setenv("AGENT_FACTORY_AMQP_URL", "amqps://factory:s3cret-password@rabbit.example:5671/vhost")
    settings = load_settings()
    assert settings.amqp_url is not None
    assert settings.openai_api_key is not None
    assert "s3cret" not in repr(settings)


def test_which_events_go_to_the_broker(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AGENT_FACTORY_AMQP_EVENT_TYPES", "agent.created, execution.finished")
    assert load_settings().brokered_events == frozenset()
    environment.setenv("AGENT_FACTORY_AMQP_URL", "amqp://factory:word@127.0.0.1/")
    assert load_settings().brokered_events == {"agent.created", "execution.finished"}
    environment.setenv("AGENT_FACTORY_AMQP_EVENT_TYPES", "")
    assert load_settings().brokered_events == set(EVENT_TYPES)


def test_mail_does_not_leave_in_the_clear(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AGENT_FACTORY_SMTP_SECURITY", "none")
    for host, fits in (("127.0.0.1", True), ("mail.example.com", False)):
        environment.setenv("AGENT_FACTORY_SMTP_HOST", host)
        if fits:
            assert load_settings().smtp_host == host
        else:
            with pytest.raises(SettingsError, match="AGENT_FACTORY_SMTP_SECURITY"):
                load_settings()


def test_the_operators_token_is_optional(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().api_token is None


def test_public_url(environment: pytest.MonkeyPatch) -> None:
    assert load_settings().public_url == "http://127.0.0.1:8700"
    environment.setenv("AGENT_FACTORY_API_URL", "https://factory.example/")
    assert load_settings().public_url == "https://factory.example"


def test_database_url_is_not_shown(environment: pytest.MonkeyPatch) -> None:
    assert isinstance(load_settings(), Settings)
    assert "p%40ss" not in repr(load_settings())
