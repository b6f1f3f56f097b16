"""Python in the sandbox: results, errors, and what one step leaves to the next: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from operators.sandbox.sandbox import Sandbox
from tests.operators.sandbox.jobs import failure, job

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, 2**70, "", "ä\u2028\0", [], [1, [2]], {}, {"b": 1, "a": {"c": [None]}}]
)
async def test_input_and_output_keep_their_values(sandbox: Sandbox, value: Any) -> None:
    assert await sandbox.run(job("return input", value)) == value


async def test_what_is_no_json_in_python_but_becomes_it(sandbox: Sandbox) -> None:
    assert await sandbox.run(job("return {1: (2, 3)}")) == {"1": [2, 3]}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError('boom')", "ValueError: boom (line 2 of the code)"),
        ("x = 1\n1 / 0", "ZeroDivisionError: division by zero (line 3 of the code)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (line 3 of the code)"),
        ("import json\njson.loads('[')", "JSONDecodeError: Expecting value: line 1 column 2 (char 1) (line 3 of the"),
        ("def main(input):\n  return x +", "SyntaxError: invalid syntax (line 2 of the code)"),
        ("def main():\n  return 1", "TypeError: main() takes 0 positional arguments but 1 was given"),
        ("def main(input): return main(input)", "RecursionError: maximum recursion depth exceeded"),
    ],
)  # fmt: skip
async def test_exceptions(sandbox: Sandbox, code: str, message: str) -> None:
    error = await failure(sandbox, code)
    assert (error.code, error.retryable) == ("code_error", True)
    assert error.message.startswith(message)


@pytest.mark.parametrize(
    "code",
    [
        "return object()", "return float('nan')", "return [float('inf')]", "return {(1,): 1}", "return b'x'",
        "return '\\ud800'", "x = []\nx.append(x)\nreturn x", "import os\nos._exit(0)", "import os\nos._exit(7)",
        "import os\nos.closerange(0, 100)\nreturn 1", "import os\nos.write(3, b'Onot json')\nos._exit(0)",
        "import os\nos.write(3, b'ONaN')\nos._exit(0)", "import os\nos.write(3, b'E[]')\nos._exit(0)",
        "async def main(input): return 1", "def main_(input): return 1\nmain = 1",
    ],
)  # fmt: skip
async def test_no_json(sandbox: Sandbox, code: str) -> None:
    error = await failure(sandbox, code)
    assert error.code == "invalid_output"


async def test_the_end_of_what_was_printed_is_in_the_error(sandbox: Sandbox) -> None:
    error = await failure(sandbox, "import sys\nprint('a' * 5000)\nprint('last words', file=sys.stderr)\n1 / 0")
    assert error.message.endswith("last words")
    assert len(error.message) < 1200


async def test_the_standard_library_is_there_and_nothing_else(sandbox: Sandbox) -> None:
    libraries = "import asyncio, csv, encodings.idna, sqlite3, ssl, xml.etree.ElementTree, zoneinfo, concurrent.futures"
    assert await sandbox.run(job(f"{libraries}\nreturn 'x'.encode('idna').decode()")) == "x"
    for name in ("operators", "compiler", "pydantic", "orjson"):
        assert "ModuleNotFoundError" in (await failure(sandbox, f"import {name}")).message


async def test_state_stays_in_its_step(sandbox: Sandbox) -> None:
    spoil = "import json, math, os\njson.dumps = None\nmath.pi = 3\nos.environ['X'] = '1'\nopen('left', 'w')\nreturn 1"
    assert await sandbox.run(job(spoil)) == 1
    look = "import json, math, os\nreturn [json.dumps is None, math.pi > 3.1, dict(os.environ), os.listdir('.')]"
    assert await sandbox.run(job(look)) == [False, True, {}, []]


async def test_forks_do_not_share_their_random_numbers(sandbox: Sandbox) -> None:
    numbers = [await sandbox.run(job("import random, uuid\nreturn [random.random(), str(uuid.uuid4())]")) for _ in "ab"]
    assert numbers[0] != numbers[1]


async def test_threads_and_processes_within_the_limits(sandbox: Sandbox) -> None:
    code = """
    import concurrent.futures, subprocess
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        squares = list(pool.map(lambda n: n * n, range(4)))
    said = subprocess.run(["echo", "hi"], capture_output=True, text=True).stdout
    return [squares, said]
    """
    code = "def main(input):" + code
    assert await sandbox.run(job(code)) == [[0, 1, 4, 9], "hi\n"]
