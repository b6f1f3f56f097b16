"""The tables: which addresses are public, in whatever form."""

from __future__ import annotations

import pytest

from operators.egress.addresses import is_metadata, parse_address, why_not_public
from tests.operators.egress.hostile import BLOCKED_ADDRESSES, PUBLIC_ADDRESSES

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("text", BLOCKED_ADDRESSES)
def test_not_public(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert why_not_public(address)


@pytest.mark.parametrize("text", PUBLIC_ADDRESSES)
def test_public(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert why_not_public(address) is None


@pytest.mark.parametrize("text", ["fe80::1%eth0", "fd00:ec2::254%1", "::1%lo"])
def test_a_zone_changes_nothing(text: str) -> None:
    address = parse_address(text)
    assert address == parse_address(text.partition("%")[0])


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "1.2.3.4.", "１.2.3.4"])
def test_no_address(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "2001:db8:a9fe:a9fe::",
        "2001::5601:5601",
        "2a00:1450:1:2:0:5efe:a83f:8110",
    ],
)
def test_metadata_services_in_every_form(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert is_metadata(address)


@pytest.mark.parametrize("text", ["8.8.8.8", "169.254.169.253", "2606:4700::1111"])
def test_no_metadata_service(text: str) -> None:
    address = parse_address(text)
    assert address is not None
    assert not is_metadata(address)
