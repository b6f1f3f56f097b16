"""Sealed values: what opens them, and what does not."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from api.encryption import Cipher, UnsealError
from api.settings import SettingsError, load_settings

pytestmark = pytest.mark.unit

KEY = SecretStr("k" * 32)


def test_opens_what_it_sealed_and_seals_anew_each_time() -> None:
    cipher = Cipher(KEY, "tests")
    first, second = (cipher.seal(b"value", "org", "name") for _ in range(2))
    assert first != second
    assert cipher.open(first, "org", "name") == cipher.open(second, "org", "name") == b"value"


@pytest.mark.parametrize("context", [("org", "other"), ("other", "name"), ("orgname",), ("orgn", "ame"), ()])
def test_another_place(context: tuple[str, ...]) -> None:
    cipher = Cipher(KEY, "tests")
    with pytest.raises(UnsealError):
        cipher.open(cipher.seal(b"value", "org", "name"), *context)


def test_another_key_and_any_changed_byte() -> None:
    sealed = Cipher(KEY, "tests").seal(b"value", "org")
    with pytest.raises(UnsealError):
        Cipher(SecretStr("l" * 32), "tests").open(sealed, "org")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(UnsealError):
            Cipher(KEY, "tests").open(bytes(changed), "org")
    for cut in (b"", sealed[:1], sealed[:12], sealed[:20]):
        with pytest.raises(UnsealError):
            Cipher(KEY, "tests").open(cut, "org")


def test_another_purpose() -> None:
    sealed = Cipher(KEY, "tests").seal(b"value", "org")
    with pytest.raises(UnsealError):
        Cipher(KEY, "others").open(sealed, "org")


def test_a_wrong_setting_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": "postgresql://x", "API_TOKEN": "a", "RUNTIME_TOKEN": "b"}.items():
        monkeypatch.setenv(f"AGENT_FACTORY_{name}", value)
    monkeypatch.setenv("AGENT_FACTORY_SECRET_KEY", "wrong-key")
    with pytest.raises(SettingsError, match="AGENT_FACTORY_SECRET_KEY: must have at least 32 characters") as caught:
        load_settings()
    assert "wrong-key" not in str(caught.value)
