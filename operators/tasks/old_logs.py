"""The Airflow operator that removes old task logs from the disk of the worker it runs on."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators.settings import FREQUENT_DAGS, airflow_retention_days

if TYPE_CHECKING:
    from airflow.sdk import Context

logger = logging.getLogger(__name__)

DAY = 86_400.0


class OldLogsOperator(BaseOperator):
    """Remove the logs of tasks and of the DAG processor that are older than ``AGENT_FACTORY_AIRFLOW_RETENTION_DAYS``.

    What it does not do: reach the disks of other workers, or a remote log store. Deployments with those remove logs
    by their own means, such as the log groomer of Airflow's Helm chart.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#eceff1"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"do_xcom_push": False, **kwargs})

    def execute(self, context: Context) -> None:
        """Remove them.

        :raises SettingsError: The setting is no number of days.
        """
        from airflow.configuration import conf

        tasks = Path(conf.get("logging", "base_log_folder"))
        processor = Path(conf.get("logging", "dag_processor_child_process_log_directory"))
        count = remove_old_logs(tasks, processor, airflow_retention_days(), time.time())
        logger.info("files removed: %s", count)


def remove_old_logs(tasks: Path, processor: Path, days: float, now: float) -> int:
    """Remove old log files, and folders that are empty then; return how many files.

    :param tasks: Where each DAG has a folder ``dag_id=<id>``; whatever else is there stays.
    :param processor: Where the DAG processor writes; all in it is its own.
    :param now: Seconds since the epoch.
    """
    before = now - days * DAY
    count = _remove_files(processor, before)
    for folder in tasks.glob("dag_id=*"):
        is_frequent = folder.name.removeprefix("dag_id=") in FREQUENT_DAGS
        count += _remove_files(folder, max(before, now - DAY) if is_frequent else before)
    return count


def _remove_files(folder: Path, before: float) -> int:
    """Remove the files in a folder that were last written before a moment. Links are not followed."""
    count = 0
    emptied: set[Path] = set()
    for path, folders, files in os.walk(folder, topdown=False):
        # Someone else may remove the same, or write anew where we find nothing: then it stays.
        with contextlib.suppress(OSError):
            for name in files:
                if (file := Path(path, name)).lstat().st_mtime < before:
                    file.unlink()
                    count += 1
                    emptied.add(Path(path))
        for inner in emptied & {Path(path, name) for name in folders}:
            with contextlib.suppress(OSError):
                inner.rmdir()
                emptied.add(Path(path))
    return count
