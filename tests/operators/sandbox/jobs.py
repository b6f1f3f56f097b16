"""Jobs of the sandbox's tests, and a look at what they leave behind."""

from __future__ import annotations

import textwrap
from typing import Any

from compiler.plan import Limits
from operators.sandbox.sandbox import Job, JobFailedError, Sandbox

MEBIBYTE = 1 << 20
LIMITS = Limits(cpu_millicores=1000, memory_bytes=256 * MEBIBYTE, ephemeral_storage_bytes=32 * MEBIBYTE)


def job(code: str, value: Any = None, **changes: Any) -> Job:
    """Return a job; code without a ``def`` is the body of ``main``."""
    code = textwrap.dedent(code)
    if "def main" not in code and changes.get("language", "python") == "python":
        code = "def main(input):\n" + textwrap.indent(code, "    ")
    fields: dict[str, Any] = {
        "language": "python", "network": "none", "limits": LIMITS, "timeout_seconds": 30.0
    }  # fmt: skip
    return Job(code=code, input=value, **{**fields, **changes})


async def failure(sandbox: Sandbox, code: str, value: Any = None, **changes: Any) -> JobFailedError:
    """Run a job that must fail and return its error."""
    try:
        output = await sandbox.run(job(code, value, **changes))
    except JobFailedError as error:
        return error
    raise AssertionError(f"the code must fail; it returned {output!r}")
