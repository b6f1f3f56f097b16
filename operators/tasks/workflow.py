"""The Airflow operator of a ``workflow`` step."""

from __future__ import annotations

from operators.tasks.segment import SegmentOperator


class WorkflowOperator(SegmentOperator):
    """Run the unit of a ``workflow`` step: deferred while the child runs, which is a DAG run of its own."""

    ui_color = "#e6f4ea"
