"""The keys of a webhook's ``auth``: what is missing, stray or wrong is reported, and no secret is repeated."""

from __future__ import annotations

from typing import Any

import pytest

from compiler import compile_workflow, validate_workflow
from tests.compiler.building import as_bytes
from tests.compiler.test_not_available_yet import with_trigger

pytestmark = pytest.mark.unit

KEY = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="
PEM = f"-----BEGIN PUBLIC KEY-----\n{KEY}\n-----END PUBLIC KEY-----\n"
ISSUED = {"type": "jwt", "issuer": "https://id.example", "audience": "hooks"}
RSA = ISSUED | {"algorithm": "RS256"}


def document(auth: dict[str, Any], **config: Any) -> bytes:
    return as_bytes(with_trigger("webhook", {"path": "x", "auth": auth} | config))


def found(auth: dict[str, Any], **config: Any) -> list[tuple[str, str]]:
    problems = validate_workflow(document(auth, **config))
    assert all(problem.severity == "error" for problem in problems)
    return [(problem.code, problem.path.removeprefix("/trigger/config/auth")) for problem in problems]


@pytest.mark.parametrize(
    "auth",
    [
        {"type": "none"},
        {"type": "api_key"},
        {"type": "api_key", "secret": "partner_key", "header": "X-Partner"},
        {"type": "hmac", "scheme": "github", "secret": "github_secret"},
        {"type": "hmac", "scheme": "slack", "secret": "slack_secret"},
        {"type": "hmac", "scheme": "stripe", "secret": "stripe_secret"},
        {"type": "standard_webhooks", "secret": "hook_secret"},
        ISSUED | {"algorithm": "HS256", "secret": "jwt_secret"},
        RSA | {"jwks_url": "https://id.example/jwks.json"},
        ISSUED | {"algorithm": "EdDSA", "public_key": PEM},
    ],
)
def test_right(auth: dict[str, Any]) -> None:
    assert found(auth) == []
    plan = compile_workflow(document(auth), organization="acme").plan
    assert plan is not None
    assert plan.triggers[0].config["auth"] == auth


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        ({"type": "none", "secret": "name"}, [("unknown_field", "/secret")]),
        ({"type": "hmac", "secret": "name"}, [("missing_field", "")]),
        ({"type": "hmac", "scheme": "github"}, [("missing_field", "")]),
        ({"type": "hmac", "scheme": "gitlab", "secret": "name"}, [("invalid_field", "/scheme")]),
        ({"type": "hmac", "scheme": "github", "secret": "n", "header": "x"}, [("unknown_field", "/header")]),
        ({"type": "standard_webhooks"}, [("missing_field", "")]),
        ({"type": "standard_webhooks", "sekret": "x"}, [("unknown_field", "/sekret")]),
        ({"type": "api_key", "header": "x: y"}, [("invalid_trigger", "/header")]),
        ({"type": "jwt", "algorithm": "none"}, [("invalid_field", "/algorithm")]),
        (ISSUED, [("missing_field", "")]),
        (ISSUED | {"algorithm": "HS256"}, [("missing_field", "")]),
        # A public key must never serve as a shared secret.
        (ISSUED | {"algorithm": "HS256", "public_key": PEM}, [("missing_field", ""), ("unknown_field", "/public_key")]),
        (RSA | {"secret": "name"}, [("missing_field", ""), ("unknown_field", "/secret")]),
        (RSA | {"public_key": PEM, "jwks_url": "https://id.example"}, [("missing_field", "")]),
        (RSA | {"public_key": PEM.replace("PUBLIC", "PRIVATE")}, [("invalid_trigger", "/public_key")]),
        (RSA | {"jwks_url": "http://id.example"}, [("invalid_trigger", "/jwks_url")]),
        (RSA | {"jwks_url": "https://a@b"}, [("invalid_trigger", "/jwks_url")]),
        ({"type": "basic"}, [("invalid_field", "/type")]),
    ],
)
def test_wrong(auth: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert found(auth) == expected


@pytest.mark.parametrize(
    "secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "abcdef0123456789abcdef0123456789", "a b"]
)
def test_a_secret_itself_is_refused_and_not_repeated(secret: str) -> None:
    auth = {"type": "standard_webhooks", "secret": secret}
    assert found(auth) == [("invalid_trigger", "/secret")]
    assert all(secret not in problem.message for problem in validate_workflow(document(auth)))


@pytest.mark.parametrize(
    "auth", [{"type": "hmac", "scheme": "github", "secret": "n"}, {"type": "standard_webhooks", "secret": "n"}]
)
def test_signatures_cover_a_body(auth: dict[str, Any]) -> None:
    assert found(auth, method="get") == [("invalid_trigger", "/type")]
    assert found(auth, method="PUT") == []
