"""The schemes, with what their makers document, and forged."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from starlette.datastructures import Headers

from api.webhooks.signatures import SecretUnusable, SignatureRefused, verify_message
from tests.api.webhooks.signing import BODY, SECRET, SIGNERS, Signer, github, hexed, standard, stripe

pytestmark = pytest.mark.unit

NOW = 1_700_000_000
# The documented examples of GitHub, Slack and the Standard Webhooks specification.
GITHUB = ("It's a Secret to Everybody", b"Hello, World!")
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_SIGNATURE = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


class TestKnownVectors:
    def test_github(self) -> None:
        headers = Headers({"X-Hub-Signature-256": GITHUB_SIGNATURE})
        assert verify_message("github", *GITHUB, headers, NOW).id == GITHUB_SIGNATURE

    def test_slack(self) -> None:
        headers = Headers({"X-Slack-Request-Timestamp": "1531420618", "X-Slack-Signature": SLACK_SIGNATURE})
        assert verify_message("slack", SLACK_SECRET, SLACK_BODY, headers, 1531420618).id == SLACK_SIGNATURE

    def test_standard_webhooks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        headers = {
            "webhook-id": STANDARD_ID,
            "webhook-timestamp": "1614265330",
            "webhook-signature": STANDARD_SIGNATURE,
        }
        # The library has only the real clock.
        monkeypatch.setattr("standardwebhooks.webhooks.timedelta", lambda **_: timedelta(days=36_500))
        body = b'{"test": 2432232314}'
        assert (
            verify_message("standard_webhooks", STANDARD_SECRET, body, Headers(headers), 1614265330).id == STANDARD_ID
        )

    def test_stripe(self) -> None:
        """Stripe documents the form, and no example with its secret: signed here as its page says."""
        signed = hexed(b"1492774577." + b'{"id": "evt_1"}', "whsec_test_secret")
        headers = Headers({"stripe-signature": f"t=1492774577,v1={signed},v0=6ffbb59b2300aae63f272406069a9788598b"})
        message = verify_message("stripe", "whsec_test_secret", b'{"id": "evt_1"}', headers, 1492774577)
        assert message.id == "evt_1"


@pytest.mark.parametrize("scheme", SIGNERS)
class TestEach:
    def signed(self, scheme: str, body: bytes = BODY, at: int | None = None) -> dict[str, str]:
        signer: Signer = SIGNERS[scheme]
        return signer(body, _now() if at is None else at)

    def test_signed(self, scheme: str) -> None:
        verify_message(scheme, SECRET, BODY, Headers(self.signed(scheme)))

    @pytest.mark.parametrize("body", [b"", BODY + b" ", BODY[:-1], b'{"name":"Ann"}', b"\xff\xfe"])
    def test_other_bytes(self, scheme: str, body: bytes) -> None:
        with pytest.raises(SignatureRefused):
            verify_message(scheme, SECRET, body, Headers(self.signed(scheme)))

    def test_other_secret(self, scheme: str) -> None:
        with pytest.raises(SignatureRefused):
            verify_message(scheme, "whsec_b3RoZXJvdGhlcm90aGVy", BODY, Headers(self.signed(scheme)))

    def test_missing_header(self, scheme: str) -> None:
        for name in self.signed(scheme):
            headers = self.signed(scheme)
            del headers[name]
            with pytest.raises(SignatureRefused, match=name):
                verify_message(scheme, SECRET, BODY, Headers(headers))

    def test_a_header_twice(self, scheme: str) -> None:
        for name, value in self.signed(scheme).items():
            raw = [(key.encode(), text.encode()) for key, text in self.signed(scheme).items()]
            with pytest.raises(SignatureRefused, match="once"):
                verify_message(scheme, SECRET, BODY, Headers(raw=[*raw, (name.encode(), value.encode())]))

    @pytest.mark.parametrize("signature", ["", "x", "v1,", "v1,!!", "é", "sha256=", "t=,v1=", "v0=" + "0" * 64, ","])
    def test_malformed(self, scheme: str, signature: str) -> None:
        headers = self.signed(scheme)
        headers[next(name for name in headers if "signature" in name)] = signature
        with pytest.raises(SignatureRefused):
            verify_message(scheme, SECRET, BODY, Headers(headers))


@pytest.mark.parametrize("scheme", [name for name in SIGNERS if name != "github"])
class TestWindow:
    @pytest.mark.parametrize("seconds", [-330, 330, -86_400])
    def test_late_or_early(self, scheme: str, seconds: int) -> None:
        headers = Headers(SIGNERS[scheme](BODY, _now() + seconds))
        with pytest.raises(SignatureRefused, match="at most 300 s"):
            verify_message(scheme, SECRET, BODY, headers)

    @pytest.mark.parametrize("seconds", [-270, 270])
    def test_within(self, scheme: str, seconds: int) -> None:
        verify_message(scheme, SECRET, BODY, Headers(SIGNERS[scheme](BODY, _now() + seconds)))

    @pytest.mark.parametrize("text", ["", "nan", "inf", "1e9", "-1", "1.5", "²", " 1"])
    def test_odd_times(self, scheme: str, text: str) -> None:
        at = str(_now())
        headers = {name: value.replace(at, text) for name, value in SIGNERS[scheme](BODY, int(at)).items()}
        with pytest.raises(SignatureRefused):
            verify_message(scheme, SECRET, BODY, Headers(headers))


class TestMessages:
    def test_a_signature_without_time_is_known_for_long(self) -> None:
        assert verify_message("github", SECRET, BODY, Headers(github(BODY, 0))).kept.days == 30

    @pytest.mark.parametrize(
        ("scheme", "body", "known"),
        [
            ("stripe", b'{"id": "evt_7", "object": "event"}', "evt_7"),
            ("slack", b'{"event_id": "Ev08", "type": "event_callback"}', "Ev08"),
        ],
    )
    def test_what_is_signed_anew_is_the_same_message(self, scheme: str, body: bytes, known: str) -> None:
        for at in (_now() - 60, _now()):
            assert verify_message(scheme, SECRET, body, Headers(SIGNERS[scheme](body, at))).id == known

    @pytest.mark.parametrize("body", [b'{"id": 7}', b'{"id": "7"}', b"[]", b"x", b'{"event_id": null}'])
    @pytest.mark.parametrize("scheme", ["stripe", "slack"])
    def test_other_bodies_are_known_by_their_signature(self, scheme: str, body: bytes) -> None:
        first, second = (
            verify_message(scheme, SECRET, body, Headers(SIGNERS[scheme](body, _now() - ago))).id for ago in (1, 2)
        )
        assert first != second

    def test_stripe_while_a_secret_is_rolled(self) -> None:
        headers = stripe(BODY, at := _now())
        of_old = f"v1={'0' * 64}"
        headers["stripe-signature"] = headers["stripe-signature"].replace(f"t={at}", f"t={at},{of_old}")
        verify_message("stripe", SECRET, BODY, Headers(headers))

    def test_standard_webhooks_with_several_signatures(self) -> None:
        headers = standard(BODY, _now())
        headers["webhook-signature"] = "v1a,abc v1,AAAA " + headers["webhook-signature"]
        verify_message("standard_webhooks", SECRET, BODY, Headers(headers))

    @pytest.mark.parametrize("secret", ["whsec_", "whsec_é", ""])
    def test_a_secret_that_is_none(self, secret: str) -> None:
        with pytest.raises(SecretUnusable):
            verify_message("standard_webhooks", secret, BODY, Headers(standard(BODY, _now())))


def _now() -> int:
    return int(time.time())
