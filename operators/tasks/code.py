"""The Airflow operator of tenant code."""

from __future__ import annotations

from operators.tasks.segment import SegmentOperator

__all__ = ["CodeOperator"]


class CodeOperator(SegmentOperator):
    """Run ``code`` steps that share a unit, in a child process with limits (see :mod:`operators.sandbox`).

    The code itself is in the plan, never in Airflow. What it does not do yet: start pods. A step that was compiled for
    Kubernetes fails with ``needs_kubernetes`` instead of running here.
    """

    ui_color = "#e6f4ea"
