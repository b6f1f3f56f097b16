"""A step whose keeper is killed just as it starts the step."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPT = """
import os
from operators.sandbox.confinement import Confinement, become
keeper = os.getpid()
if os.fork() == 0:
    while os.getppid() == keeper:
        pass
    print("is an orphan", flush=True)
    become(Confinement(None, ()), keeper)
    print("goes on", flush=True)
os._exit(0)
"""


def test_it_does_not_go_on_alone() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["is an orphan"]
