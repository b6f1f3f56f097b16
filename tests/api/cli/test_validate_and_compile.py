"""The commands ``validate`` and ``compile``: exit codes, what is printed, what is written."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "dags" / "examples" / "customer_support.json"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The example without its handlers."""
    source = json.loads(EXAMPLE.read_text())
    source["tasks"] = source["tasks"][:2]
    del source["output"]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(source))
    return path


@pytest.fixture
def unavailable(tmp_path: Path) -> Path:
    """A workflow with a type that is not available yet."""
    task = {"id": "a", "type": "retrieve", "config": {"collection": "docs", "query": "q"}}
    body = {"id": "w", "name": "W", "version": "1", "trigger": {"type": "manual"}, "tasks": [task]}
    path = tmp_path / "unavailable.json"
    path.write_text(json.dumps(body))
    return path


def diagnostics(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["diagnostics"]
    return found


class TestValidate:
    def test_valid(self) -> None:
        result = run("validate", EXAMPLE, "--format", "json")
        assert result.exit_code == 0
        assert json.loads(result.stdout) == {"diagnostics": []}

    def test_errors(self, broken: Path) -> None:
        result = run("validate", broken, "--format", "json")
        assert result.exit_code == 1
        assert [found["code"] for found in diagnostics(result)] == ["unknown_task"] * 3
        assert set(diagnostics(result)[0]) == {"severity", "code", "message", "path", "task_id", "suggestion"}

    def test_warnings_are_no_errors(self, unavailable: Path) -> None:
        result = run("validate", unavailable, "--format", "json")
        assert result.exit_code == 0
        assert [(found["severity"], found["code"]) for found in diagnostics(result)] == [
            ("warning", "unavailable_type")
        ]

    def test_text(self, broken: Path) -> None:
        result = run("validate", broken, "--format", "text")
        assert result.exit_code == 1
        lines = result.stdout.splitlines()
        assert len(lines) == 4
        assert lines[0].startswith("error: unknown_task at /tasks/1/config/conditions/0/then: `then` must name")
        assert run("validate", EXAMPLE, "--format", "text").stdout == "The workflow is valid.\n"

    def test_a_pipe_gets_json(self, broken: Path) -> None:
        assert len(diagnostics(run("validate", broken))) == 3

    @pytest.mark.parametrize("content", [b"", b"[]", b"3", b"\xff\x00", b"{" * 1000, b'"\x1b[2J'])
    def test_whatever_the_file_holds(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "file.json"
        path.write_bytes(content)
        assert run("validate", path, "--format", "json").exit_code == 1
        result = run("validate", path, "--format", "text")
        assert result.exit_code == 1
        assert "\x1b" not in result.stdout

    @pytest.mark.parametrize("arguments", [["/no/such/file"], ["."], [], [EXAMPLE, "--format", "xml"], [EXAMPLE, "x"]])
    def test_wrong_use(self, arguments: list[object]) -> None:
        result = run("validate", *arguments)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr

    def test_a_missing_file_takes_one_sentence(self) -> None:
        result = run("validate", "/no/such/file")
        assert result.stderr == "Error: FILE must be a readable file; got /no/such/file: no such file or directory.\n"

    def test_a_huge_file_is_not_read_to_its_end(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.json"
        with path.open("wb") as file:
            file.truncate(1 << 40)
        assert [found["code"] for found in diagnostics(run("validate", path))] == ["limit_exceeded"]


class TestCompile:
    def test_writes_the_files(self, tmp_path: Path) -> None:
        out = tmp_path / "new" / "dags"
        result = run("compile", EXAMPLE, "--org", "acme", "--out", out, "--format", "json")
        assert result.exit_code == 0
        printed = json.loads(result.stdout)
        assert printed["diagnostics"] == []
        assert sorted(printed["files"]) == sorted(str(path) for path in out.iterdir())
        plan = out / "acme__workflow_123.plan.json"
        assert hashlib.sha256(plan.read_bytes()).hexdigest() == printed["digest"]
        assert printed["digest"] in (out / "acme__workflow_123.py").read_text()

    def test_errors_write_nothing(self, broken: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        result = run("compile", broken, "--org", "acme", "--out", out)
        assert result.exit_code == 1
        printed = json.loads(result.stdout)
        assert (printed["files"], printed["digest"], len(printed["diagnostics"])) == ([], None, 3)
        assert not out.exists()

    def test_what_is_not_available_is_an_error(self, unavailable: Path, tmp_path: Path) -> None:
        result = run("compile", unavailable, "--org", "acme", "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert [(found["severity"], found["code"]) for found in diagnostics(result)] == [("error", "unavailable_type")]

    def test_options(self, tmp_path: Path) -> None:
        command = [
            "compile",
            EXAMPLE,
            "--org",
            "acme",
            "--out",
            tmp_path,
            "--fusion",
            "off",
            "--isolation",
            "kubernetes",
        ]
        assert run(*command).exit_code == 0
        plan = json.loads((tmp_path / "acme__workflow_123.plan.json").read_text())
        assert (plan["fusion"], plan["isolation"], len(plan["units"])) == ("off", "kubernetes", 6)

    def test_text(self, broken: Path, tmp_path: Path) -> None:
        result = run("compile", EXAMPLE, "--org", "acme", "--out", tmp_path, "--format", "text")
        assert result.stdout.splitlines() == [
            str(tmp_path / "acme__workflow_123.py"),
            str(tmp_path / "acme__workflow_123.plan.json"),
        ]
        assert (
            "Nothing was written" in run("compile", broken, "--org", "a", "--out", tmp_path, "--format", "text").stdout
        )

    @pytest.mark.parametrize(
        "options",
        [
            ["--out", "x"],
            ["--org", "acme"],
            ["--org", "Acme", "--out", "x"],
            ["--org", "a_b", "--out", "x"],
            ["--org", "a\n", "--out", "x"],
            ["--org", "acme", "--out", "x", "--fusion", "on"],
            ["--org", "acme", "--out", "x", "--isolation", "none"],
            ["--org", "acme", "--out", "/dev/null/x"],
            ["--org", "acme", "--out", str(EXAMPLE)],
        ],
    )
    def test_wrong_use(self, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        result = run("compile", EXAMPLE, *options)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_files_are_replaced_and_nothing_else_is_left(self, tmp_path: Path) -> None:
        for fusion in ("auto", "off"):
            assert run("compile", EXAMPLE, "--org", "acme", "--out", tmp_path, "--fusion", fusion).exit_code == 0
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["acme__workflow_123.plan.json", "acme__workflow_123.py"]
        assert (tmp_path / names[0]).stat().st_mode & 0o444 == 0o444 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_commands_do_not_load_the_platform(tmp_path: Path) -> None:
    script = (
        "import sys; from api.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'airflow', 'fastapi', 'sqlalchemy', 'openai', 'anthropic', 'pydantic_ai', 'jsonschema'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for arguments in (["validate", EXAMPLE], ["compile", EXAMPLE, "--org", "acme", "--out", tmp_path]):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        finished = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        assert finished.stderr == "[]\n"
