"""The README's commands work, and the links of README and docs lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from compiler import compile_workflow
from compiler.explain import as_text, explain_workflow

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TEXT = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_QUICK = re.compile(r"\.venv/bin/agent-factory (validate|compile|explain|new|run) ")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def quick_commands(text: str) -> list[str]:
    """Return the commands of the console blocks that need no running platform."""
    lines = [line for block in _CONSOLE.findall(text) for line in block.splitlines()]
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [command for command in commands if _QUICK.match(command)]


def relative_links(text: str) -> list[str]:
    """Return the links to files, without what stands after #; code is no text with links."""
    prose = _INLINE_CODE.sub("", _FENCED.sub("", text))
    paths = (target.partition("#")[0] for target in _LINK.findall(prose) if "://" not in target)
    return [path for path in paths if path]


def test_the_readme_shows_each_quick_command() -> None:
    shown = {command.split()[1] for command in quick_commands(README)}
    assert shown == {"validate", "compile", "explain", "new", "run"}


@pytest.mark.parametrize("command", quick_commands(README))
def test_a_command_of_the_readme_succeeds(command: str, tmp_path: Path) -> None:
    folder = shlex.quote(str(Path(sys.executable).parent))
    here = command.replace("/tmp/", f"{shlex.quote(str(tmp_path))}/").replace(".venv/bin", folder)
    # bash, as in the README: the stubs come through <( ).
    result = subprocess.run(["bash", "-c", here], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_dag_in_the_readme_is_what_the_compiler_writes() -> None:
    source = (ROOT / "dags/examples/customer_support.json").read_bytes()
    compiled = compile_workflow(source, organization="acme").files["acme__workflow_123.py"].decode()
    (shown,) = _PYTHON.findall(README)
    assert compiled.endswith(shown)


def test_the_explanation_in_the_readme_is_what_explain_prints() -> None:
    _, explanation = explain_workflow((ROOT / "dags/examples/customer_support.json").read_bytes())
    assert explanation is not None
    (shown,) = _TEXT.findall(README)
    assert as_text(explanation).startswith(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    missing = [link for link in relative_links(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_a_broken_link_would_be_found() -> None:
    assert relative_links("See [this](no/such.md#part), `[x](y)` and [that](https://example.org).") == ["no/such.md"]
