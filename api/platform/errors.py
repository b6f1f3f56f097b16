"""Errors of the embedded platform: one clear sentence each, printed as they are."""

from __future__ import annotations


class PlatformError(Exception):
    """The platform cannot start or go on. The message is a whole sentence that says what to do."""
