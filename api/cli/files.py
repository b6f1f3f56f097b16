"""Reading and writing files for the commands: one sentence and exit code 2 where that fails."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import click
import orjson

from compiler.read import MAX_BYTES


class UnusableFileError(click.ClickException):
    """A file or directory of the command line cannot be used: wrong use, said in one sentence."""

    exit_code = 2


def read_source(path: Path) -> bytes:
    """Return the bytes of a workflow file, or a little more than the compiler takes of a huge one.

    :raises UnusableFileError: There is no such file, or it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnusableFileError(f"FILE must be a readable file; got {_printable(path)}: {_reason(error)}.") from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a workflow file.

    :raises UnusableFileError: There is no such file, or it cannot be read.
    :raises click.UsageError: It is no JSON object.
    """
    try:
        document = orjson.loads(read_source(path))
    except orjson.JSONDecodeError as error:
        raise click.UsageError(f"{path} must be JSON: {error}") from None
    if not isinstance(document, dict):
        raise click.UsageError(f"{path} must be a JSON object; got {type(document).__name__}.")
    return document


def read_whole(path: Path) -> bytes:
    """Return the bytes of a file.

    :raises UnusableFileError: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnusableFileError(f"FILE must be a readable file; got {_printable(path)}: {_reason(error)}.") from error


def write_files(directory: Path, files: dict[str, bytes]) -> list[str]:
    """Write files into a directory, each complete or not at all; return their paths.

    :raises UnusableFileError: The directory cannot be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # The plan before the DAG that names its digest: who sees the new DAG must find its plan.
        for name in sorted(files, key=lambda name: name.endswith(".py")):
            _write(directory / name, files[name])
    except (OSError, ValueError) as error:
        raise UnusableFileError(
            f"DIR must be a writable directory; got {_printable(directory)}: {_reason(error)}."
        ) from error
    return [_printable(directory / name) for name in files]


def write_new(path: Path, data: bytes, *, force: bool) -> str:
    """Write one file and return its path.

    :param force: Whether a file that is there may be written over.
    :raises UnusableFileError: There is one and ``force`` is false, or the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if force:
            _write(path, data)
        else:
            with path.open("xb") as file:
                file.write(data)
    except FileExistsError as error:
        raise UnusableFileError(f"{_printable(path)} is there already; --force writes over it.") from error
    except (OSError, ValueError) as error:
        raise UnusableFileError(f"FILE must be writable; got {_printable(path)}: {_reason(error)}.") from error
    return _printable(path)


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # Readable as the umask says: mkstemp makes files for the owner alone.
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise


def _printable(path: Path) -> str:
    """Return a path as text; bytes of a name that are no UTF-8 become question marks."""
    return str(path).encode("utf-8", "replace").decode()


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
