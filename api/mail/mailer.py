"""Mail that goes out: by SMTP where one is set; else it does not go, and the operator prints links."""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from email.message import EmailMessage
from typing import Protocol

from api.settings import Settings

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 20


class Mailer(Protocol):
    """Sends mail."""

    delivers: bool
    """Whether mail arrives anywhere."""

    async def send(self, to: str, subject: str, body: str) -> None:
        """Send a message. What goes wrong is logged: the caller of an API must not learn who has an account."""


class NoMailer:
    """There is no mail server."""

    delivers = False

    async def send(self, to: str, subject: str, body: str) -> None:
        """Log that nothing was sent; never the body, for there is a secret in it."""
        log.info("mail %r was not sent: no AGENT_FACTORY_SMTP_HOST is set", subject)


class SmtpMailer:
    """Hands mail to a server over TLS, or STARTTLS, or, on this machine only, in the clear.

    :param settings: ``smtp_host`` is set.
    """

    delivers = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def send(self, to: str, subject: str, body: str) -> None:
        """Send a message from a thread."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._settings.smtp_sender, to, subject
        message.set_content(body)
        try:
            await asyncio.to_thread(self._deliver, message)
        except (OSError, smtplib.SMTPException) as error:
            log.error("mail %r was not sent: %s", subject, type(error).__name__)

    def _deliver(self, message: EmailMessage) -> None:
        with self._connect() as server:
            password = self._settings.smtp_password
            if self._settings.smtp_username and password is not None:
                server.login(self._settings.smtp_username, password.get_secret_value())
            server.send_message(message)

    def _connect(self) -> smtplib.SMTP:
        host, port = self._settings.smtp_host or "", self._settings.smtp_port
        if self._settings.smtp_security == "tls":
            return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_SECONDS, context=ssl.create_default_context())
        server = smtplib.SMTP(host, port, timeout=TIMEOUT_SECONDS)
        if self._settings.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())
        return server


def make_mailer(settings: Settings) -> Mailer:
    """Return the mailer of the settings."""
    return SmtpMailer(settings) if settings.smtp_host else NoMailer()
