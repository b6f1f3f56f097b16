"""Kills and freezes parts of a platform at random, by a seed."""

from __future__ import annotations

import random
import signal
import threading
import time
from dataclasses import dataclass

from api.platform.home import Home
from tests.chaos.processes import SUPERVISED, Relays, busy_workers, child_pid, group_of, signal_all

KILLS_IN_TEN_MINUTES = 4
"""Of one supervised part: one less than what the supervisor gives up at."""
FROZEN_SECONDS = 13.0
"""Longer than a lease (10 s)."""


@dataclass(frozen=True)
class Disruption:
    """One kill or freeze. Times are of ``time.monotonic``; ``tasks`` is how many running tasks it hit."""

    victim: str
    manner: str
    began: float
    ended: float
    tasks: int


class Disruptor(threading.Thread):
    """Disrupts until it has done so ``count`` times.

    :param pauses: The shortest and the longest time between two, in seconds.
    """

    def __init__(self, home: Home, relays: Relays, seed: int, count: int, pauses: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self._home = home
        self._relays = relays
        self._random = random.Random(seed)
        self._count = count
        self._pauses = pauses
        self._kills: dict[str, list[float]] = {}
        self._deck: list[tuple[str, str]] = []
        self.done: list[Disruption] = []
        self.stop = threading.Event()

    def run(self) -> None:
        """Disrupt."""
        while len(self.done) < self._count and not self.stop.wait(self._random.uniform(*self._pauses)):
            victim, manner = self._draw()
            disruption = self._disrupt(victim, manner)
            if disruption is not None:
                self.done.append(disruption)
                print(f"chaos: {manner} {victim} ({disruption.tasks} running tasks hit)", flush=True)

    def _draw(self) -> tuple[str, str]:
        """Return the next of a shuffled deck, so that even a short run meets every part."""
        if not self._deck:
            parts = ["task", "task", "worker", "relay", *SUPERVISED]
            parts += [key for key in self._home.read_state()["children"] if key.startswith("airflow-worker")]
            self._deck = [(part, self._random.choice(("kill", "freeze"))) for part in parts]
            self._random.shuffle(self._deck)
        return self._deck.pop()

    def _disrupt(self, victim: str, manner: str) -> Disruption | None:
        pids = self._pids(victim, manner)
        if not pids:
            return None
        began = time.monotonic()
        tasks = len({pid for below in busy_workers(self._home).values() for pid in below[:1]} & set(pids))
        if manner == "kill":
            signal_all(pids, signal.SIGKILL)
        else:
            signal_all(pids, signal.SIGSTOP)
            self.stop.wait(FROZEN_SECONDS)
            signal_all(pids, signal.SIGCONT)
        return Disruption(victim, manner, began, time.monotonic(), tasks)

    def _pids(self, victim: str, manner: str) -> list[int]:
        """Return the processes to hit; none where the part is not there just now, or has died often enough."""
        if victim in ("task", "worker"):
            busy = busy_workers(self._home)
            if not busy:
                return []
            worker = self._random.choice(sorted(busy))
            return busy[worker] if victim == "task" else [worker, *busy[worker]]
        if victim == "relay":
            relays = self._relays.pids()
            return [self._random.choice(relays)] if relays else []
        pid = child_pid(self._home, victim)
        if pid is None:
            return []
        if manner == "kill":
            now = time.monotonic()
            recent = self._kills[victim] = [at for at in self._kills.get(victim, []) if now - at < 600]
            if len(recent) >= KILLS_IN_TEN_MINUTES:
                return []
            recent.append(now)
        return group_of(pid)
