"""How long the pods of a unit may be needed."""

from __future__ import annotations

from compiler.plan import Plan, Step, Unit, every_step

BESIDE_SECONDS = 6 * 3_600.0
"""For the start, and for the time in which nobody comes for a result: Airflow may be away for hours. A pod that nobody
needs any more does not stay so long, for it is removed once its execution is over."""
BETWEEN_SECONDS = 30.0
"""For a step to be journaled and the next one handed over, also where the worker is lost between."""
MAXIMUM_SECONDS = 7 * 86_400.0


def needed_seconds(plan: Plan, unit: Unit) -> float:
    """Return after how many seconds a pod of the unit is no longer needed, whatever happened: its deadline."""
    steps = [step for step in plan.steps if step.id in unit.steps]
    if any(step.body for step in steps):
        # A map may have a thousand items, in turns.
        return MAXIMUM_SECONDS
    return min(MAXIMUM_SECONDS, BESIDE_SECONDS + sum(map(_longest, every_step(steps))))


def _longest(step: Step) -> float:
    waits = sum(
        min(step.retry.max_backoff_seconds, step.retry.backoff_seconds * 2.0 ** min(number, 60))
        for number in range(step.retry.attempts - 1)
    )
    return step.retry.attempts * ((step.timeout_seconds or 0.0) + BETWEEN_SECONDS) + waits
