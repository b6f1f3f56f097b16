"""The Airflow operator of a ``map`` whose body has barriers."""

from __future__ import annotations

from operators.tasks.segment import SegmentOperator


class MapOperator(SegmentOperator):
    """Run the unit of such a map: deferred while nothing in its items runs, so that no worker is held.

    The items are not mapped tasks of Airflow. What they are is in the control plane only, so XCom holds nothing of
    them, and an item costs no Airflow task. What it does not do: spread the items over several workers.
    """

    ui_color = "#f3e8fd"
