"""What is here against what an archive has."""

from __future__ import annotations

from typing import Any

from api.transfers.schemas import Change, Existing
from api.transfers.zips import as_json


def bytes_of(value: Any) -> bytes:
    """Return what is compared: in Python True equals 1, in JSON it does not."""
    return value if isinstance(value, bytes) else as_json(value)


def what_to_do(existing: Existing) -> Change:
    """Return what becomes of something that is here and differs."""
    return "conflict" if existing == "refuse" else existing
