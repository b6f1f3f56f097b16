"""The job ``airflow-database``: Airflow's own ``airflow db clean``.

Airflow keeps its database from tasks, so the control plane calls it, where it is told the database's address.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from api.problems import Problem
from api.relay.airflow import AirflowAwayError, AirflowRefusedError
from api.settings import Settings
from api.upkeep.repository import trusted_now
from api.upkeep.tools import Counts, Tools
from operators.settings import FREQUENT_DAGS

log = logging.getLogger(__name__)

TABLES = (
    "dag_run", "task_instance", "task_instance_history", "xcom", "log", "job", "callback", "dag_version",
    "import_error", "revoked_token", "celery_taskmeta", "celery_tasksetmeta",
)  # fmt: skip
"""What grows with every run or release. Not ``trigger``: it would take the tasks along that wait for a long time; not
``dag``: a DAG that is gone takes its history along."""
BATCH = 5000
TIMEOUT_SECONDS = 500
CANNOT_BE_CLEANED = {"deadline"}
"""Airflow 3.3 adds it to the tables and then misses a column in it. Its rows go with their runs."""
_FOUND = re.compile(r"^Found (\d+) rows meeting deletion criteria", re.MULTILINE)
_NOT_CLEANED = re.compile(r"tables were not cleaned due to errors: \[([^\]]*)\]")


async def clean_airflow(tools: Tools, now: datetime | None = None) -> Counts:
    """Have Airflow forget its old runs. DAGs of which an old run has not ended are left alone as a whole.

    :param now: Instead of the time of :func:`trusted_now`.
    :raises Problem: 409 without the database's address, 503 where Airflow could not do it.
    """
    if tools.settings.airflow_database_url is None:
        detail = (
            "The control plane must have AGENT_FACTORY_AIRFLOW_DATABASE_URL set to clean Airflow's database; got "
            "nothing. Set it, or have Airflow clean it: databaseCleanup of its Helm chart."
        )
        raise Problem(409, "not_possible_here", detail)
    if now is None:
        async with tools.database.system() as session:
            now = await trusted_now(session, "airflow-database")
    try:
        return await _clean_both(tools, now)
    except (AirflowAwayError, AirflowRefusedError) as error:
        raise Problem(503, "airflow_failed", f"Airflow could not be asked: {error}.") from None


async def _clean_both(tools: Tools, now: datetime) -> Counts:
    """Clean what is old, and what is frequent; but start no ``airflow``, which takes seconds, where nothing is."""
    counts = {"rows": 0, "rows_of_frequent_dags": 0, "dags_left_alone": 0}
    before = now - timedelta(days=tools.settings.airflow_retention_days)
    if await tools.airflow.has_runs(before):
        at_work = await tools.airflow.dags_at_work(before)
        counts["dags_left_alone"] = len(at_work)
        counts["rows"] = await _clean(tools.settings, before, {"--exclude-dag-ids": at_work})
    a_day_ago = now - timedelta(days=1)
    if await tools.airflow.has_runs(a_day_ago, FREQUENT_DAGS):
        counts["rows_of_frequent_dags"] = await _clean(tools.settings, a_day_ago, {"--dag-ids": FREQUENT_DAGS})
    return counts


async def _clean(settings: Settings, before: datetime, dags: Mapping[str, Iterable[str]]) -> int:
    """Call ``airflow db clean`` and return how many rows it removed."""
    command = [
        sys.executable, "-m", "airflow", "db", "clean", "--yes", "--skip-archive", "--tables",
        ",".join(TABLES), "--batch-size", str(BATCH), "--clean-before-timestamp", before.isoformat(),
    ]  # fmt: skip
    for option, names in dags.items():
        if joined := ",".join(sorted(names)):
            command += [option, joined]
    with tempfile.TemporaryDirectory(prefix="airflow-") as folder:
        process = await asyncio.create_subprocess_exec(
            *command,
            env=_environment(settings, folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                output = (await process.communicate())[0].decode(errors="replace")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    failed = {name for names in _NOT_CLEANED.findall(output) for name in re.findall(r"\w+", names)}
    if process.returncode or failed - CANNOT_BE_CLEANED:
        log.error("airflow db clean failed: %s", output[-2000:])
        raise Problem(503, "airflow_failed", "`airflow db clean` failed; its words are in the control plane's log.")
    return sum(int(number) for number in _FOUND.findall(output))


def _environment(settings: Settings, folder: str) -> dict[str, str]:
    """Return the environment of the command: of ours, neither an Airflow nor a secret."""
    assert settings.airflow_database_url is not None
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": folder,
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": settings.airflow_database_url.get_secret_value(),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
