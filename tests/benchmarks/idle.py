"""What an idle platform computes, with our upkeep of every half minute and without it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from operators.sandbox.processes import descendants
from tests.support import Platform

SECONDS = 90.0
DAG = "agent-factory.reconcile"
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(platform: Platform) -> dict[str, float]:
    """Return the CPU seconds of each part of the platform so far, those of its ended children included."""
    children = platform.home.read_state()["children"]
    return {key: sum(map(_of_process, (child["pid"], *descendants(child["pid"])))) for key, child in children.items()}


def _of_process(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / _TICKS


def measure(platform: Platform, seconds: float = SECONDS) -> dict[str, dict[str, float]]:
    """Return, with the DAG on and with it paused, how much of a core each part takes."""
    shares: dict[str, dict[str, float]] = {}
    for name, paused in (("on", False), ("paused", True)):
        platform.airflow.patch(f"/api/v2/dags/{DAG}", json={"is_paused": paused}).raise_for_status()
        time.sleep(5)  # what is under way ends
        before, began = cpu_seconds(platform), time.monotonic()
        time.sleep(seconds)
        passed, after = time.monotonic() - began, cpu_seconds(platform)
        shares[name] = {key: (after[key] - before[key]) / passed for key in after}
    platform.airflow.patch(f"/api/v2/dags/{DAG}", json={"is_paused": False}).raise_for_status()
    return shares


def table(shares: dict[str, dict[str, float]]) -> str:
    """Return the figures, in percent of a core."""
    lines = [f"{'part':<24}{'on':>8}{'paused':>8}"]
    for key in shares["on"]:
        lines.append(f"{key:<24}{100 * shares['on'][key]:>7.1f}%{100 * shares['paused'][key]:>7.1f}%")
    sums = [100 * sum(shares[name].values()) for name in ("on", "paused")]
    lines.append(f"{'all':<24}{sums[0]:>7.1f}%{sums[1]:>7.1f}%  (a round each 30 s: {(sums[0] - sums[1]) * 0.3:.2f} s)")
    return "\n".join(lines)
