"""E-mail addresses: one account an address, however its letters are written."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

_SHAPE = r"^[^\s@\x00-\x1f\x7f,;<>()\[\]\\\"]{1,64}@[^\s@\x00-\x1f\x7f,;<>()\[\]\\\"]{1,255}$"


def normalise(email: str) -> str:
    """Return an address as accounts are kept."""
    return email.lower()


# Whether an address receives mail only a mail can tell; this keeps out what would change the header of one.
Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=_SHAPE),
    AfterValidator(normalise),
    Field(examples=["ann@example.com"]),
]
