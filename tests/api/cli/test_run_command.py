"""``agent-factory run`` as scripts use it: its one JSON object and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from api.cli.main import main
from tests.stubs.model_server import ModelServer

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]


def workflow(*tasks: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "flow",
        "name": "Flow",
        "version": "1.0",
        "trigger": {"type": "manual", "config": {}},
        "tasks": list(tasks),
        **fields,
    }


def task(task_id: str, set: Any = None, **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "transform", "config": {"set": set or {"n": 1}}, **fields}


def model(task_id: str, prompt: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "type": "ai_inference", "config": {"model": "gpt-4", "prompt": prompt}, **fields}


class Cli:
    """The command in this process, with files in a directory of the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def file(self, name: str, content: Any) -> str:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(path)

    def run(self, content: Any, *options: str, stubs: Any = None) -> Result:
        arguments = ["run", self.file("flow.json", content), *options]
        if stubs is not None:
            arguments += ["--stubs", self.file("stubs.json", stubs)]
        return CliRunner().invoke(main, arguments)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Cli(tmp_path)


class TestResult:
    def test_success(self, cli: Cli) -> None:
        flow = workflow(task("a", {"n": "{{ input.n + 1 }}"}, next=["b"]), task("b", {"m": "{{ a.output.n * 2 }}"}))
        result = cli.run(flow, "--input", '{"n": 1}')
        assert result.exit_code == 0
        shown = json.loads(result.stdout)
        assert set(shown) == {"status", "output", "steps"}
        assert shown["status"] == "success"
        assert shown["output"] == {"b": {"m": 4}}
        assert list(shown["steps"]) == ["a", "b"]
        for step in shown["steps"].values():
            assert set(step) == {"status", "output", "error", "attempts", "duration_ms"}
            assert (step["status"], step["attempts"], step["error"]) == ("success", 1, None)
            assert step["duration_ms"] >= 0

    def test_skipped_tasks_are_there_too(self, cli: Cli) -> None:
        choice = {"id": "c", "type": "conditional", "config": {"conditions": [{"if": "{{ false }}", "then": "a"}]}}
        shown = json.loads(cli.run(workflow(choice, task("a"))).stdout)
        assert shown["steps"]["a"] == {
            "status": "skipped",
            "output": None,
            "error": None,
            "attempts": 0,
            "duration_ms": None,
        }

    def test_failure(self, cli: Cli) -> None:
        result = cli.run(workflow(task("a", {"n": "{{ input.missing }}"}, next=["b"]), task("b")))
        assert result.exit_code == 1
        shown = json.loads(result.stdout)
        assert (shown["status"], shown["output"]) == ("failed", None)
        assert shown["steps"]["a"]["error"]["code"] == "expression_error"
        assert shown["steps"]["b"]["status"] == "upstream_failed"
        assert "expression_error" in result.stderr

    def test_without_a_key_it_says_that_the_test_model_answered(self, cli: Cli) -> None:
        result = cli.run(workflow(model("a")))
        assert result.exit_code == 0
        assert "test model" in result.stderr

    def test_input_and_vars_from_files(self, cli: Cli) -> None:
        flow = workflow(task("a", {"x": "{{ input }} {{ vars.name }}"}), vars=["name"])
        options = ["--input", "@" + cli.file("in.json", "hey"), "--vars", "@" + cli.file("vars.json", {"name": "you"})]
        assert json.loads(cli.run(flow, *options).stdout)["output"] == {"a": {"x": "hey you"}}

    @pytest.mark.parametrize("fusion", ["auto", "off"])
    def test_fusion_changes_nothing(self, cli: Cli, fusion: str) -> None:
        flow = workflow(task("a", next=["b", "c"]), task("b", next=["d"]), task("c", next=["d"]), task("d"))
        shown = json.loads(cli.run(flow, "--fusion", fusion).stdout)
        assert shown["output"] == {"d": {"n": 1}}

    def test_text_no_encoder_likes(self, cli: Cli) -> None:
        flow = workflow(model("a"))
        result = cli.run(flow, stubs={"a": "\u0000 Grüße 𝄞"})
        assert json.loads(result.stdout)["output"] == {"a": "\u0000 Grüße 𝄞"}

    def test_a_number_beyond_64_bits(self, cli: Cli) -> None:
        flow = workflow(task("a", {"n": "{{ 9223372036854775807 * 4 }}"}))
        result = cli.run(flow)
        shown = json.loads(result.stdout)
        assert result.exit_code == (0 if shown["status"] == "success" else 1)


class TestInputSchema:
    FLOW = workflow(task("a"), input={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})

    def test_an_input_that_fits(self, cli: Cli) -> None:
        assert cli.run(self.FLOW, "--input", '{"n": 1}').exit_code == 0

    @pytest.mark.parametrize("value", ["{}", '{"n": "x"}', "[]"])
    def test_an_input_that_does_not(self, cli: Cli, value: str) -> None:
        result = cli.run(self.FLOW, "--input", value)
        assert result.exit_code == 1
        shown = json.loads(result.stdout)
        assert shown["status"] == "failed"
        assert shown["error"]["code"] == "invalid_input"
        assert set(shown["steps"]) == {"a"}


class TestStubs:
    RETRIED = workflow(model("a", retry={"attempts": 3, "backoff_seconds": 50}))

    def test_one_output_for_every_attempt(self, cli: Cli) -> None:
        shown = json.loads(cli.run(workflow(model("a")), stubs={"a": {"text": "stubbed"}}).stdout)
        assert shown["output"] == {"a": {"text": "stubbed"}}

    def test_a_list_is_attempts_and_retries_do_not_wait(self, cli: Cli) -> None:
        stubs = {"a": [{"error": "one"}, {"error": "two"}, {"text": "three"}]}
        step = json.loads(cli.run(self.RETRIED, stubs=stubs).stdout)["steps"]["a"]
        assert (step["status"], step["attempts"], step["output"]) == ("success", 3, {"text": "three"})

    def test_an_exhausted_list_says_so(self, cli: Cli) -> None:
        result = cli.run(self.RETRIED, stubs={"a": [{"error": "one"}]})
        step = json.loads(result.stdout)["steps"]["a"]
        assert result.exit_code == 1
        assert step["attempts"] == 2
        assert "exhausted" in step["error"]["message"]

    def test_the_last_failure_stands(self, cli: Cli) -> None:
        step = json.loads(cli.run(self.RETRIED, stubs={"a": [{"error": "x"}] * 3}).stdout)["steps"]["a"]
        assert step["error"]["message"] == "x"

    def test_the_input_is_still_rendered(self, cli: Cli) -> None:
        result = cli.run(workflow(model("a", "{{ input.missing }}")), stubs={"a": {"text": "stubbed"}})
        assert json.loads(result.stdout)["steps"]["a"]["error"]["code"] == "expression_error"

    def test_the_output_is_not_validated(self, cli: Cli) -> None:
        flow = workflow(model("a"))
        flow["tasks"][0]["config"]["output_schema"] = {"type": "object", "required": ["n"]}
        assert json.loads(cli.run(flow, stubs={"a": {"other": 1}}).stdout)["output"] == {"a": {"other": 1}}

    def test_a_list_as_output_is_a_list_in_a_list(self, cli: Cli) -> None:
        assert json.loads(cli.run(workflow(model("a")), stubs={"a": [[1, 2]]}).stdout)["output"] == {"a": [1, 2]}

    def test_other_types_can_be_stubbed(self, cli: Cli) -> None:
        choice = {"id": "c", "type": "conditional", "config": {"conditions": [{"if": "{{ false }}", "then": "a"}]}}
        shown = json.loads(cli.run(workflow(choice, task("a")), stubs={"c": {"branch": "a"}}).stdout)
        assert shown["steps"]["a"]["status"] == "success"

    def test_an_unknown_task_is_warned_about(self, cli: Cli) -> None:
        result = cli.run(workflow(task("a")), stubs={"b": 1})
        assert result.exit_code == 0
        assert "'b'" in result.stderr


class TestWrongUse:
    @pytest.mark.parametrize(
        "options",
        [
            ["--input", "{"],
            ["--input", ""],
            ["--input", "NaN"],
            ["--input", "@/no/such/file"],
            ["--vars", "[]"],
            ["--vars", "{"],
            ["--stubs", "/no/such/file"],
            ["--fusion", "perhaps"],
            ["--unknown"],
        ],
    )
    def test_exit_code_2(self, cli: Cli, options: list[str]) -> None:
        result = cli.run(workflow(task("a")), *options)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr

    @pytest.mark.parametrize("stubs", [b"{", b"[]", b"\xff", b""])
    def test_stubs_that_are_no_object(self, cli: Cli, stubs: bytes) -> None:
        assert cli.run(workflow(task("a")), "--stubs", cli.file("bad.json", stubs)).exit_code == 2

    def test_no_file(self) -> None:
        assert CliRunner().invoke(main, ["run", "/no/such/file"]).exit_code == 2


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"", b'{"id": "x"}'])
def test_an_invalid_workflow_prints_its_diagnostics(cli: Cli, content: bytes) -> None:
    result = cli.run(content)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["diagnostics"]


def test_a_type_that_is_not_available_yet(cli: Cli) -> None:
    result = cli.run(workflow({"id": "w", "type": "retrieve", "config": {"collection": "docs", "query": "q"}}))
    assert result.exit_code == 1
    assert {item["code"] for item in json.loads(result.stdout)["diagnostics"]} == {"unavailable_type"}


class TestProcess:
    """The command as a process of its own."""

    def command(self, cli: Cli, flow: Any, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from api.cli.main import main; main()", "run", cli.file("flow.json", flow)],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # As a terminal starts it: a shell starts background jobs with SIGINT ignored, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def test_a_real_provider_over_http(self, cli: Cli) -> None:
        with ModelServer() as server:
            process = self.command(
                cli, workflow(model("a")), OPENAI_API_KEY="sk-test-key", OPENAI_BASE_URL=server.openai_url
            )
            stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["output"] == {"a": {"text": "stub answer to: hello"}}
        assert len(server.calls) == 1
        assert "test model" not in stderr

    def test_ctrl_c_ends_it_cleanly(self, cli: Cli) -> None:
        with ModelServer() as server:
            server.block()
            process = self.command(
                cli, workflow(model("a")), OPENAI_API_KEY="sk-test-key", OPENAI_BASE_URL=server.openai_url
            )
            assert server.arrived.acquire(timeout=120)
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert stdout == ""
        assert "Traceback" not in stderr

    def test_it_imports_no_airflow(self, cli: Cli) -> None:
        code = (
            "import sys\nfrom api.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
            "assert not {'airflow', 'fastapi', 'sqlalchemy', 'pydantic_ai', 'openai'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, "run", cli.file("flow.json", workflow(model("a")))],
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={key: value for key, value in os.environ.items() if not key.startswith("OPENAI")},
            check=False,
        )
        assert done.returncode == 0, done.stderr
