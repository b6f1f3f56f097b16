"""Whether a folder's disk takes what the platform writes. A full or read-only disk is said in words, before and while
the platform runs, since the errors that follow from it name anything but the disk."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

SPARE_BYTES = 48_000_000
"""With less than this a disk counts as full: PostgreSQL recovers with files of 16 MB each."""
NEW_BYTES = 400_000_000
"""What a new state folder needs; measured, with some air (docs/platform.md)."""
_PROBE_BYTES = 65_536


def trouble(folder: Path, least: int = SPARE_BYTES) -> str | None:
    """Return what keeps a folder's disk from taking more, as the end of a sentence; None where nothing does.

    :param least: How many bytes must be free.
    """
    probe = folder / f".writable.{os.getpid()}"
    try:
        # Bytes and not only a name: a full disk takes an empty file.
        probe.write_bytes(b"\0" * _PROBE_BYTES)
    except OSError as error:
        return f"the folder {folder} cannot be written ({error.strerror})"
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    free = free_bytes(folder)
    return None if free >= least else f"the disk of {folder} has {_mb(free)} free and needs {_mb(least)}"


def free_bytes(folder: Path) -> int:
    """Return how much a program that is not root may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _mb(size: int) -> str:
    return f"{size // 1_000_000:,} MB"
