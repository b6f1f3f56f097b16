"""TLS: the connection goes to the checked address, the certificate is checked for the name."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from compiler.urls import parse_url
from operators.egress import EgressError, EgressRequest
from operators.egress.client import EgressLimits
from tests.operators.egress.conftest import ClientFactory, Names
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.unit

NAME = "shop.example"


class Certificates:
    """An authority, and a certificate of ``shop.example`` from it."""

    def __init__(self, folder: Path) -> None:
        authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self.authority = _certificate(issuer, issuer, authority_key, authority_key, is_authority=True)
        leaf = _certificate(x509.Name([]), issuer, key, authority_key, is_authority=False)
        self.file = folder / "shop.pem"
        self.file.write_bytes(
            leaf.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def for_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        return context

    def for_client(self) -> ssl.SSLContext:
        authority = self.authority.public_bytes(serialization.Encoding.PEM).decode()
        return ssl.create_default_context(cadata=authority)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    ).add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
    if not is_authority:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def sni() -> list[str | None]:
    """The names that clients asked for."""
    return []


@pytest.fixture
def tls_server(certificates: Certificates, sni: list[str | None]) -> Iterator[HttpServer]:
    context = certificates.for_server()
    context.sni_callback = lambda connection, name, _: sni.append(name)
    with HttpServer(context) as server:
        server.on("/", lambda exchange: exchange.answer(200, b"ok"))
        yield server


async def test_the_name_is_asked_for_and_checked(
    make_client: ClientFactory, certificates: Certificates, tls_server: HttpServer, sni: list[str | None]
) -> None:
    names = Names(shop_example=["127.0.0.1"])
    client = make_client(allow="127.0.0.1", resolver=names, verify=certificates.for_client())
    answer = await client.send(EgressRequest("GET", parse_url(tls_server.url("/", NAME))))
    assert answer.body == b"ok"
    assert sni == [NAME]
    assert tls_server.requests[0].headers["host"] == f"{NAME}:{tls_server.port}"


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
async def test_a_certificate_of_another_name(
    host: str, make_client: ClientFactory, certificates: Certificates, tls_server: HttpServer
) -> None:
    names = Names(other_example=["127.0.0.1"])
    client = make_client(allow="127.0.0.1", resolver=names, verify=certificates.for_client())
    with pytest.raises(EgressError, match="certificate") as failure:
        await client.send(EgressRequest("GET", parse_url(tls_server.url("/", host))))
    assert (failure.value.code, failure.value.retryable) == ("http_error", False)
    assert tls_server.requests == []


async def test_an_authority_nobody_knows(make_client: ClientFactory, tls_server: HttpServer) -> None:
    client = make_client(allow="127.0.0.1", resolver=Names(shop_example=["127.0.0.1"]))
    with pytest.raises(EgressError, match="certificate"):
        await client.send(EgressRequest("GET", parse_url(tls_server.url("/", NAME))))
    assert tls_server.requests == []


async def test_a_server_without_tls(make_client: ClientFactory, server: HttpServer) -> None:
    # It waits for the rest of a request, the client for the rest of a handshake.
    client = make_client(allow="127.0.0.1", limits=EgressLimits(connect_seconds=0.2))
    with pytest.raises(EgressError) as failure:
        await client.send(EgressRequest("GET", parse_url(f"https://127.0.0.1:{server.port}/")))
    assert (failure.value.code, failure.value.retryable) == ("timeout", True)
