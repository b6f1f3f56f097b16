"""The JWS cases of Wycheproof, at each of the three places that verify signatures: no invalid one passes.

``wycheproof_jws.json`` is ``testvectors_v1/jws_test.json`` of C2SP/wycheproof (Apache-2.0), whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import JWKRegistry, OctKey

from api.oidc.tokens import ALGORITHMS, InvalidIdToken
from api.oidc.tokens import signed_payload as of_id_token
from api.signing.tokens import InvalidToken, read_header, verify_signature
from api.webhooks.tokens import public_key
from api.webhooks.tokens import signed_payload as of_webhook

pytestmark = pytest.mark.unit

VECTORS = json.loads((Path(__file__).parent / "wycheproof_jws.json").read_text())


def access_token(jws: str, jwk: dict[str, Any]) -> bytes:
    """Verify as an access token: with a key of ours, always ES256."""
    return verify_signature(jws, JWKRegistry.import_key(jwk), typ=None)  # type: ignore[arg-type]


def webhook(jws: str, jwk: dict[str, Any]) -> bytes:
    """Verify as a webhook whose trigger names the key and its algorithm: where the key names none, the token's."""
    algorithm = jwk.get("alg") or str(read_header(jws).get("alg"))
    key = OctKey.import_key(jwk) if jwk["kty"] == "oct" else public_key(algorithm, jwk)
    return of_webhook(jws, key, algorithm)


def id_token(jws: str, jwk: dict[str, Any]) -> bytes:
    """Verify as an ID token of a provider that has this one key."""
    return of_id_token(jws, {"keys": [jwk]})


VERIFIERS = {"access token": access_token, "webhook": webhook, "id token": id_token}
TAKEN: dict[str, frozenset[str]] = {
    "access token": frozenset({"ES256"}),
    "webhook": frozenset({*ALGORITHMS, "HS256", "HS384", "HS512"}),
    "id token": frozenset(ALGORITHMS),
}
"""The algorithms that each verifier takes: valid cases of others are refused."""
NOT_AS_PRINTED = {
    ("webhook", 367): "its text and key are those of 357, which is valid: the padding that it is about is not in it",
    ("webhook", 370): "its text and key are those of 357 too",
}
STRICTER = {
    "webhook": {
        259: "its payload is empty: there are no claims",
        264: "the same",
        268: "the same",
        272: "the same",
        320: "the same",
        325: "the same",
        346: "its key is for PS256, and it is signed with PS384",
        350: "the same",
        372: "letters that base64url does not have",
        373: "the same",
    },
    "id token": {346: "its key is for PS256, and it is signed with PS384", 350: "the same"},
}
"""Valid cases that we refuse."""


def cases() -> Iterator[Any]:
    for name in VERIFIERS:
        for group in VECTORS["testGroups"]:
            for test in group["tests"]:
                yield pytest.param(name, group, test, id=f"{name}-{test['tcId']}")


def test_it_is_the_whole_file() -> None:
    ids = {test["tcId"] for group in VECTORS["testGroups"] for test in group["tests"]}
    assert len(ids) == VECTORS["numberOfTests"] == 401


@pytest.mark.parametrize(("name", "group", "test"), list(cases()))
def test_wycheproof(name: str, group: dict[str, Any], test: dict[str, Any]) -> None:
    """Nothing invalid passes, and what is valid does, where its algorithm is taken and we are not stricter."""
    jwk = group.get("public") or group["private"]
    try:
        VERIFIERS[name](test["jws"], jwk)
        accepted = True
    except (InvalidToken, InvalidIdToken, ValueError):
        accepted = False
    is_valid = test["result"] == "valid" or (name, test["tcId"]) in NOT_AS_PRINTED
    is_taken = jwk.get("alg") in TAKEN[name] and test["tcId"] not in STRICTER.get(name, {})
    assert accepted is (is_valid and is_taken), test["comment"]


@pytest.mark.parametrize("number", [number for _, number in NOT_AS_PRINTED])
def test_what_is_exempt_is_the_valid_one(number: int) -> None:
    found = {
        test["tcId"]: (test["jws"], group["private"])
        for group in VECTORS["testGroups"]
        for test in group["tests"]
        if test["tcId"] in (357, number)
    }
    assert found[number] == found[357]
