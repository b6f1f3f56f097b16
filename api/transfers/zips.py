"""Zip files that we write, and the careful reading of those that others send. Pure."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from api.edge import parse_json
from api.problems import Problem
from api.transfers.layout import is_known

MANIFEST = "manifest.json"
MAX_ENTRIES = 5_000
MAX_FILE_BYTES = 1_100_000
"""Of one file, unpacked: a workflow may have 1 MB."""
MAX_TOTAL_BYTES = 64_000_000
"""Of all files, unpacked."""
MAX_RATIO = 200
"""How many times larger than packed a file may be, above the first 10 kB: deflate does 1,032 times at most."""
_FREE_BYTES = 10_000

_BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError,
    LookupError,
)  # fmt: skip


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: str
    size: int


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: str
    format: int
    files: dict[str, _Entry]


def invalid(detail: str) -> Problem:
    """Return the problem of an archive that is not as we write them."""
    return Problem(422, "invalid_archive", detail)


def write_zip(files: Mapping[str, bytes]) -> bytes:
    """Return a zip of files by name, with a manifest: the same bytes for the same files, whenever and whoever asks.

    :raises Problem: 413, where it would be more than :func:`read_zip` takes.
    """
    total = sum(map(len, files.values()))
    if len(files) >= MAX_ENTRIES or total > MAX_TOTAL_BYTES:
        detail = (
            f"An export may have {MAX_ENTRIES:,} files and {MAX_TOTAL_BYTES:,} bytes; this one would have "
            f"{len(files):,} and {total:,}. Leave the versions out with `versions=false`, or export single agents."
        )
        raise Problem(413, "too_large", detail)
    listed = {name: {"sha256": _sha256(files[name]), "size": len(files[name])} for name in sorted(files)}
    manifest = orjson.dumps({"kind": "agent-factory", "format": 1, "files": listed}, option=orjson.OPT_INDENT_2)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in ((MANIFEST, manifest), *((name, files[name]) for name in sorted(files))):
            # A date of always, and the same system and rights on any machine.
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type, info.create_system = _method(content), 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, content)
    return target.getvalue()


def read_zip(content: bytes) -> dict[str, bytes]:
    """Return the files of a zip by name, without the manifest. Nothing is ever written to a disk.

    :raises Problem: 422, for whatever :func:`write_zip` would not have written: other names, links, too much, packed
        too well, or other contents than the manifest says.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_entries(entries)
            files = {entry.filename: _read(archive, entry) for entry in entries}
    except _BROKEN as error:
        raise invalid(
            f"The body must be a zip of an export; got one that cannot be read: {type(error).__name__}."
        ) from None
    manifest = _manifest(files.pop(MANIFEST, None))
    if manifest.files.keys() != files.keys():
        raise invalid("The zip must hold exactly the files that its manifest names.")
    for name, entry in manifest.files.items():
        if (entry.sha256, entry.size) != (_sha256(files[name]), len(files[name])):
            raise invalid(f"{name!r} must have the digest and size that the manifest says; it was changed.")
    return files


def _method(content: bytes) -> int:
    """Return how a file is packed: not at all where it would look like a bomb, as a draft of blanks does."""
    fits = len(content) <= _FREE_BYTES + MAX_RATIO * len(zlib.compress(content, 6)) // 2
    return zipfile.ZIP_DEFLATED if fits else zipfile.ZIP_STORED


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    """Check what the directory of a zip says, before anything is unpacked."""
    if len(entries) > MAX_ENTRIES:
        raise invalid(f"The zip may have {MAX_ENTRIES:,} files; got {len(entries):,}.")
    if len({entry.filename for entry in entries}) < len(entries):
        raise invalid("No two files of the zip may have the same name.")
    for entry in entries:
        _check_entry(entry)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise invalid(f"The files may have {MAX_TOTAL_BYTES:,} bytes unpacked; got {total:,}.")


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    # The known names are all relative, and go neither up nor into another archive.
    if name != MANIFEST and not is_known(name):
        raise invalid(f"The zip must hold files of an export only; got {name[:200]!r}.")
    if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
        raise invalid(f"{name!r} must be a plain file; got a link or something else.")
    if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise invalid(f"{name!r} must be stored or deflated, and not encrypted.")
    if entry.file_size > MAX_FILE_BYTES:
        raise invalid(f"{name!r} may have {MAX_FILE_BYTES:,} bytes unpacked; got {entry.file_size:,}.")
    if entry.file_size > _FREE_BYTES + MAX_RATIO * entry.compress_size:
        raise invalid(f"{name!r} may be {MAX_RATIO} times as large unpacked as packed; got more.")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) != entry.file_size:
        raise invalid(f"{entry.filename!r} must have the size that the zip says.")
    return content


def _manifest(content: bytes | None) -> _Manifest:
    # A manifest of MAX_ENTRIES files is smaller than a file may be.
    if content is None:
        raise invalid(f"The zip must have a {MANIFEST!r}; it is no export.")
    try:
        manifest = _Manifest.model_validate(parse_json(content))
    except (ValidationError, Problem):
        raise invalid(f"{MANIFEST!r} must be as an export has it.") from None
    if (manifest.kind, manifest.format) != ("agent-factory", 1):
        raise invalid(f"{MANIFEST!r} must be of format 1; got {manifest.format}. It is of a newer Agent Factory.")
    return manifest


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def as_json(value: Any) -> bytes:
    """Return a value as an export writes it."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
