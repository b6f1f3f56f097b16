"""The Airflow operator of a ``wait`` step."""

from __future__ import annotations

from operators.tasks.segment import SegmentOperator


class WaitOperator(SegmentOperator):
    """Run the unit of a ``wait`` step: deferred, so that no worker is held while time passes."""

    ui_color = "#fef7e0"
