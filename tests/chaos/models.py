"""A model service whose every answer names the call it answers, so that it can be told which call a result is of."""

from __future__ import annotations

import threading
from typing import Any

from tests.stubs.model_server import ModelServer, last_prompt

MODEL = "chaos"


class NumberedModels(ModelServer):
    """Answers ``call <number>``; ``prompt_of`` tells what was asked in that call."""

    def __init__(self, delay: float) -> None:
        super().__init__(delay=delay)
        self._numbers = threading.local()
        self._asked: list[str] = []

    def take(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> int | None:
        """Note a call and give it a number."""
        if body["model"] == MODEL:
            with self._lock:
                self._asked.append(last_prompt(body))
                self._numbers.last = len(self._asked) - 1
        return super().take(path, headers, body)

    def next_answer(self, model: str) -> Any:
        """Return the answer of the call that this thread serves."""
        return f"call {self._numbers.last}" if model == MODEL else super().next_answer(model)

    def prompt_of(self, answer: str) -> str:
        """Return the prompt that an answer was given to."""
        return self._asked[int(answer.removeprefix("call "))]

    def asked(self) -> list[str]:
        """Return every prompt so far."""
        with self._lock:
            return list(self._asked)
