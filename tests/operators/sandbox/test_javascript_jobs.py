"""JavaScript in the sandbox."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from operators.sandbox.sandbox import Sandbox
from tests.operators.sandbox.jobs import LIMITS, failure, job

pytestmark = pytest.mark.unit

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def main(body: str) -> str:
    return f"function main(input) {{ {body} }}"


@needs_node
@pytest.mark.parametrize(
    ("code", "output"),
    [
        (main("return input"), {"a": [1, "ä", None]}),
        (main(""), None),
        ("async " + main("await null; return {n: input.a.length}"), {"n": 3}),
        ("const main = (input) => input.a[0]", 1),
        ("const fs = require('fs'), vm = 1, request = 2; " + main("return [vm, request]"), [1, 2]),
        (main("console.log('noise'); return require('path').basename('/a/b')"), "b"),
    ],
)
async def test_results(sandbox: Sandbox, code: str, output: Any) -> None:
    assert await sandbox.run(job(code, {"a": [1, "ä", None]}, language="javascript")) == output


@needs_node
@pytest.mark.parametrize(
    ("code", "error_code", "message"),
    [
        (main("\nthrow new TypeError('boom')"), "code_error", "TypeError: boom (line 2 of the code)"),
        (main("throw 5"), "code_error", "threw 5"),
        ("async " + main("throw new Error('late')"), "code_error", "Error: late (line 1 of the code)"),
        (main("return new Promise(() => { setTimeout(() => { throw new Error('x') }, 1) })"), "code_error", "Error: x"),
        ("function main(", "code_error", "SyntaxError"),
        ("const other = 1 // main", "invalid_output", "the code must define a function `main(input)`"),
        (main("return NaN"), "invalid_output", "`main` must return JSON"),
        (main("return 1n"), "invalid_output", "`main` must return JSON"),
        (main("return () => 1"), "invalid_output", "`main` must return JSON"),
        (main("process.exit(0)"), "invalid_output", "the process ended before"),
        (main("return 'x'.repeat(65e6)"), "output_too_large", "the result must have at most"),
        (main("while (true) console.log('x'.repeat(1e5))"), "output_too_large", "the code must print"),
        (
            main("const a = []; while (true) a.push(new Array(1000).fill(1.5))"),
            "out_of_memory",
            "the code must do with",
        ),
        (main("const a = []; while (true) a.push(Buffer.alloc(2e7, 1))"), "out_of_memory", "the code must do with"),
        (
            # A crash that no words explain, but how much memory it had.
            main("const a = Buffer.alloc(245 << 20, 1); process.kill(process.pid, 'SIGSEGV'); while (a) {}"),
            "out_of_memory",
            "the code must do with",
        ),
        (main("process.kill(process.pid, 'SIGKILL')"), "killed", "the process was killed by SIGKILL"),
    ],
)
async def test_failures(sandbox: Sandbox, code: str, error_code: str, message: str) -> None:
    error = await failure(sandbox, code, language="javascript")
    assert (error.code, error.message[: len(message)]) == (error_code, message)


@needs_node
async def test_the_smallest_memory(sandbox: Sandbox) -> None:
    limits = LIMITS.model_copy(update={"memory_bytes": 32 << 20})
    code = main("return Buffer.alloc(16 << 20, 1).length")
    assert await sandbox.run(job(code, language="javascript", limits=limits)) == 16 << 20


async def test_without_node(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    error = await failure(sandbox, main("return 1"), language="javascript")
    assert (error.code, error.retryable) == ("language_unavailable", False)
