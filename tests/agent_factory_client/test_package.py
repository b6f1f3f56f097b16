"""The client as a distribution of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]


def test_imports_nothing_of_the_server(tmp_path: Path) -> None:
    """Installed alone, it works without this checkout."""
    (tmp_path / "agent_factory_client").symlink_to(ROOT / "agent_factory_client")
    program = (
        "import sys; import agent_factory_client; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'api', 'operators', 'compiler', 'airflow', 'pydantic', 'fastapi', 'sqlalchemy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "\n"
