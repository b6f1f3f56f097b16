"""agent-factory run asks for approvals on a terminal, and only there."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.unit

COMMAND = str(Path(sys.executable).parent / "agent-factory")
WORKFLOW: dict[str, Any] = {
    "id": "pay", "name": "Pay", "version": "1", "trigger": {"type": "manual"},
    "tasks": [
        {
            "id": "ask", "type": "approval", "next": ["after"],
            "config": {"title": "Pay {{ input.amount }}?\u001b[31m", "body": "To Ann\n\u001b[2J"},
        },
        {
            "id": "after", "type": "transform",
            "config": {"set": {"why": "{{ ask.output.comment }}", "by": "{{ ask.output.by }}"}},
        },
    ],
}  # fmt: skip


class Terminal:
    """The command on a terminal of its own; its result goes to a pipe."""

    def __init__(self, folder: Path, **config: Any) -> None:
        workflow = json.loads(json.dumps(WORKFLOW))
        workflow["tasks"][0]["config"] |= config
        (folder / "pay.json").write_text(json.dumps(workflow))
        self._master, slave = pty.openpty()
        command = [COMMAND, "run", str(folder / "pay.json"), "--input", '{"amount": 7}']
        self.process = subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave)
        os.close(slave)
        self.text = ""

    def expect(self, text: str) -> None:
        """Read until a text comes."""
        seen = len(self.text)
        while text not in self.text[seen:]:
            self.text += os.read(self._master, 4096).decode()

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def result(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=60)
        os.close(self._master)
        result: dict[str, Any] = json.loads(output)
        return result


def test_approved(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.expect("[a/r] ")
    assert "Approval of step ask: Pay 7?\\x1b[31m\r\nTo Ann\r\n\\x1b[2J\r\n" in terminal.text
    terminal.type("perhaps\n")
    terminal.expect("r (reject): ")
    terminal.type("a\nwith pleasure\n")
    result = terminal.result()
    assert (terminal.process.returncode, result["status"]) == (0, "success")
    assert result["output"] == {"after": {"why": "with pleasure", "by": "terminal"}}


def test_rejected(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, assignees=["ann"])
    terminal.expect("[a/r] ")
    terminal.type("reject\n\n")
    result = terminal.result()
    assert (terminal.process.returncode, result["status"]) == (1, "failed")
    assert result["steps"]["ask"]["error"]["code"] == "approval_rejected"


def test_nobody_types_in_time(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, timeout="500ms", on_timeout="approve")
    result = terminal.result()
    assert result["output"] == {"after": {"why": None, "by": "timeout"}}


def test_the_terminal_is_closed(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.expect("[a/r] ")
    terminal.type("\x04")
    assert (terminal.result()["status"], terminal.process.returncode) == ("cancelled", 1)


def test_without_a_terminal_it_asks_for_a_stub(tmp_path: Path) -> None:
    (tmp_path / "pay.json").write_text(json.dumps(WORKFLOW))
    command = [COMMAND, "run", str(tmp_path / "pay.json"), "--input", '{"amount": 7}']
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    error = json.loads(done.stdout)["steps"]["ask"]["error"]
    assert (done.returncode, error["code"]) == (1, "approval_unanswered")
    assert '{"ask": {"decision": "approve"}}' in error["message"]
