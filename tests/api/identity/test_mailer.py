"""Mail by SMTP, with a server of this machine."""

from __future__ import annotations

import asyncio
from email import message_from_string

import pytest

from api.mail.mailer import NoMailer, SmtpMailer, make_mailer
from api.settings import Settings

pytestmark = pytest.mark.unit


def settings(port: int) -> Settings:
    return Settings.model_validate(
        {
            "database_url": "postgresql://none", "runtime_token": "r", "smtp_host": "127.0.0.1", "smtp_port": port,
            "smtp_security": "none", "smtp_sender": "factory@x.test",
        }
    )  # fmt: skip


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, letters: list[str]) -> None:
    """Speak as much SMTP as a delivery needs."""
    writer.write(b"220 x\r\n")
    while line := (await reader.readline()).decode().strip().upper():
        if line == "DATA":
            writer.write(b"354 go\r\n")
            letters.append((await reader.readuntil(b"\r\n.\r\n")).decode())
        writer.write(b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")
        if line == "QUIT":
            break
    await writer.drain()
    writer.close()


async def test_delivery() -> None:
    letters: list[str] = []
    server = await asyncio.start_server(lambda r, w: serve(r, w, letters), "127.0.0.1", 0)
    async with server:
        mailer = make_mailer(settings(server.sockets[0].getsockname()[1]))
        assert isinstance(mailer, SmtpMailer)
        await mailer.send("ann@x.test", "Set a new password", "https://x.test/#token=secret\n")
    letter = message_from_string(letters[0])
    assert (letter["From"], letter["To"], letter["Subject"]) == ("factory@x.test", "ann@x.test", "Set a new password")
    assert "https://x.test/#token=secret" in letter.get_payload()


async def test_no_server_is_no_error_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    await make_mailer(settings(9)).send("ann@x.test", "Set a new password", "secret-link")
    none = make_mailer(settings(9).model_copy(update={"smtp_host": None}))
    assert isinstance(none, NoMailer)
    with caplog.at_level("INFO"):
        await none.send("ann@x.test", "Set a new password", "secret-link")
    assert "was not sent" in caplog.text
    assert "secret-link" not in caplog.text
