"""The in-memory store keeps the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import JsonValue

from compiler.plan import Plan
from operators.execution.memory import InMemoryStore
from tests.operators.execution.runner_tools import START
from tests.operators.execution.store_contract import StoreContract

pytestmark = pytest.mark.unit


class MemoryWorld:
    """An in-memory store whose clock stands still until told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.store = InMemoryStore(monotonic=lambda: self.seconds, now=lambda: START + timedelta(seconds=self.seconds))
        self._count = 0

    async def accept(self, plan: Plan, *, input: JsonValue = None) -> str:
        self._count += 1
        execution_id = f"execution-{self._count}"
        self.store.accept(execution_id, plan, input=input)
        return execution_id

    async def cancel(self, execution_id: str) -> None:
        self.store.cancel(execution_id)

    async def pass_time(self, seconds: float) -> None:
        self.seconds += seconds


class TestInMemoryStore(StoreContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()
