"""Asks for approvals on the terminal of ``agent-factory run``."""

from __future__ import annotations

import asyncio
import os
import sys

import click

from compiler.problems import one_line
from operators.execution.asking import Approver
from operators.execution.records import ApprovalRequest, Decision

ANSWERS: dict[str, Decision] = {"a": "approve", "approve": "approve", "r": "reject", "reject": "reject"}


def terminal_approver() -> Approver | None:
    """Return who asks on the terminal; None where there is none to ask on and hear from."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    return _Terminal().ask


class _Terminal:
    """Asks one question at a time: standard output is the result's alone, so questions go to standard error."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._typed = b""

    async def ask(self, step_id: str, request: ApprovalRequest) -> tuple[Decision, str | None, str]:
        """Ask until there is an answer; the assignees are named, since the caller can be any of them."""
        async with self._lock:
            click.echo(f"\nApproval of step {step_id}: {one_line(request.title)}", err=True)
            if request.body:
                click.echo("\n".join(map(one_line, request.body.splitlines())), err=True)
            decision = ANSWERS.get(await self._line("approve or reject? [a/r] "))
            while decision is None:
                decision = ANSWERS.get(await self._line("Please answer a (approve) or r (reject): "))
            comment = await self._line("Comment (may be empty): ")
            return decision, comment or None, request.assignees[0] if request.assignees else "terminal"

    async def _line(self, prompt: str) -> str:
        """Read a line while everything else goes on; a thread that reads could not be stopped.

        :raises EOFError: The terminal was closed.
        """
        click.echo(prompt, nl=False, err=True)
        loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
        while b"\n" not in self._typed:
            ready = asyncio.Event()
            loop.add_reader(descriptor, ready.set)
            try:
                await ready.wait()
            finally:
                loop.remove_reader(descriptor)
            typed = os.read(descriptor, 4096)
            if not typed:
                raise EOFError
            self._typed += typed
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode("utf-8", "replace").strip()
