"""Runs a tenant's Python in a process made for it. Standard library only; nothing here can be trusted any more once the
tenant's code has begun, and nothing need be: all it can spoil is its own result."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import traceback
from typing import Any

CODE_FILE = "<code>"
MESSAGE_LIMIT = 2_000
_dumps = json.dumps  # the tenant's code may put something else in its place
OUT_OF_MEMORY = b'E{"code": "out_of_memory", "message": "the code must do with its memory limit; it asked for more"}'


def run(source: str, value: Any, result: int) -> None:
    """Call ``main(value)``, write what came of it to a descriptor, and end this process.

    What is written is ``O`` and the result's JSON, or ``E`` and ``{code, message}``.
    """
    pid = os.getpid()
    try:
        written = _outcome(source, value)
    except MemoryError:
        written = OUT_OF_MEMORY
    except BaseException as error:
        written = _failure("code_error", type(error).__name__)
    # A fork of the tenant's comes by here too; the result is the first process's to give.
    if os.getpid() == pid:
        _write(result, written)
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
    os._exit(0)


def _outcome(source: str, value: Any) -> bytes:
    names: dict[str, Any] = {"__name__": "code", "__builtins__": __builtins__}
    try:
        exec(compile(source, CODE_FILE, "exec", dont_inherit=True), names)  # noqa: S102  # what this process is for
        main = names.get("main")
        if not callable(main):
            return _failure("invalid_output", "the code must define a function `main(input)`; it has none")
        output = main(value)
    except MemoryError:
        raise
    except BaseException as error:
        return _raised(error)
    try:
        return b"O" + _dumps(output, allow_nan=False, ensure_ascii=False).encode()
    except MemoryError:
        raise
    except BaseException as error:
        rule = "`main` must return JSON: null, booleans, finite numbers, text, lists and objects of these"
        return _failure("invalid_output", f"{rule}; got {type(output).__name__}: {_text(error)}")


def _raised(error: BaseException) -> bytes:
    """Describe an exception of the tenant's code."""
    is_full = isinstance(error, BlockingIOError) and error.errno == errno.EAGAIN
    if is_full or (isinstance(error, RuntimeError) and "can't start new thread" in str(error)):
        return _failure("too_many_processes", "the code must start fewer processes and threads; it met the limit")
    return _failure("code_error", f"{type(error).__name__}: {_text(error)}{_place(error)}")


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename == CODE_FILE:
        return f" (line {error.lineno} of the code)"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == CODE_FILE]
    return f" (line {lines[-1]} of the code)" if lines else ""


def _text(error: BaseException) -> str:
    try:
        return error.msg if isinstance(error, SyntaxError) else str(error)
    except BaseException:
        return "its text cannot be read"


def _failure(code: str, message: str) -> bytes:
    return b"E" + _dumps({"code": code, "message": message[:MESSAGE_LIMIT]}).encode()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    with contextlib.suppress(OSError):
        while view:
            view = view[os.write(descriptor, view) :]
