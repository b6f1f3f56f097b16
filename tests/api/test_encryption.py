"""Sealed values: what opens them, and what does not."""

from __future__ import annotations

import base64
import os

import pytest

from api.encryption import Cipher, UnsealError, decode_key, generate_key
from api.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit

KEY = os.urandom(32)


def test_opens_what_it_sealed_and_seals_anew_each_time() -> None:
    cipher = Cipher(KEY)
    first, second = (cipher.seal(b"value", "org", "name") for _ in range(2))
    assert first != second
    assert cipher.open(first, "org", "name") == cipher.open(second, "org", "name") == b"value"


@pytest.mark.parametrize("context", [("org", "other"), ("other", "name"), ("orgname",), ("orgn", "ame"), ()])
def test_another_place(context: tuple[str, ...]) -> None:
    cipher = Cipher(KEY)
    with pytest.raises(UnsealError):
        cipher.open(cipher.seal(b"value", "org", "name"), *context)


def test_another_key_and_any_changed_byte() -> None:
    sealed = Cipher(KEY).seal(b"value", "org")
    with pytest.raises(UnsealError):
        Cipher(os.urandom(32)).open(sealed, "org")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UnsealError):
            Cipher(KEY).open(bytes(changed), "org")
    for cut in (b"", sealed[:1], sealed[:12], sealed[:20]):
        with pytest.raises(UnsealError):
            Cipher(KEY).open(cut, "org")


def test_keys() -> None:
    assert len(decode_key(generate_key())) == 32
    for wrong in ("", "x", "€", base64.b64encode(os.urandom(16)).decode(), "A" * 100):
        with pytest.raises(ValueError, match="base64 of 32 random bytes"):
            decode_key(wrong)


def test_a_wrong_setting_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": "postgresql://x", "API_TOKEN": "a", "RUNTIME_TOKEN": "b"}.items():
        monkeypatch.setenv(f"AGENT_FACTORY_{name}", value)
    monkeypatch.setenv("AGENT_FACTORY_SECRET_KEY", "wrong-key")
    with pytest.raises(SettingsError, match="AGENT_FACTORY_SECRET_KEY: must be base64") as caught:
        load_settings()
    assert "wrong-key" not in str(caught.value)
