"""Which certificates our HTTP clients trust."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import pytest

from operators.tls import own_context, public_context

pytestmark = pytest.mark.unit


@pytest.fixture
def one_authority(tmp_path: Path) -> Path:
    """A file with the first authority of certifi's only."""
    end = "-----END CERTIFICATE-----\n"
    path = tmp_path / "one.pem"
    path.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return path


def count(context: ssl.SSLContext) -> int:
    return len(context.get_ca_certs())


def test_read_once() -> None:
    assert own_context() is own_context()
    assert public_context() is public_context()


def test_the_environment_names_the_outside_world_only(one_authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    usual = public_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(one_authority))
    assert count(public_context()) == 1
    assert count(own_context()) > 50
    monkeypatch.delenv("SSL_CERT_FILE")
    assert public_context() is usual
