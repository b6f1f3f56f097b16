"""How the embedded Airflow is set up: every setting this product needs, in one place, with its reason."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from api.platform.celery import Celery, celery
from api.platform.errors import PlatformError
from api.platform.home import Credentials, Home, write_private
from api.platform.postgres import Cluster
from operators.settings import (
    AIRFLOW_RETENTION_DAYS,
    EGRESS_ALLOW,
    POD_CONFIGS,
    PRELOAD,
    PRELOAD_KUBERNETES,
    RESULT_MAX_BYTES,
    SEGMENTS_IN_TRIGGERER,
    SettingsError,
    egress_policy,
    result_max_bytes,
    segments_in_triggerer,
)

USER = "admin"
BUNDLE = "agent_factory"
UPKEEP_BUNDLE = "agent_factory_upkeep"
DAGS = Path(__file__).parents[2] / "dags"
"""Our own upkeep DAGs."""
MODEL_KEYS = {"OPENAI_API_KEY": "openai", "ANTHROPIC_API_KEY": "anthropic"}
"""Environment variable of the control plane -> the provider whose key it holds."""
SCHEDULER_IDLE = "AGENT_FACTORY_SCHEDULER_IDLE_SECONDS"
"""Environment variable: the seconds that a scheduler with nothing to do sleeps."""
IDLE_SECONDS = 0.1


def settings(
    home: Home,
    credentials: Credentials,
    cluster: Cluster,
    celery: Celery | None = None,
    idle_seconds: float = IDLE_SECONDS,
) -> dict[str, str]:
    """Return Airflow's settings by section and key, as environment variables."""
    folder = home.path / "airflow"
    bundles = [
        {"name": BUNDLE, "classpath": "plugins.bundle.AgentFactoryBundle", "kwargs": {"refresh_interval": 30}},
        {
            "name": UPKEEP_BUNDLE,
            "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
            # They change with the product only.
            "kwargs": {"path": str(DAGS), "refresh_interval": 3600},
        },
    ]
    values = {
        ("core", "executor"): "plugins.local_executor.BoundedLocalExecutor",
        # Tasks are short and wait little: more at once than this only slows each other down.
        ("core", "parallelism"): str(max(4, 2 * (os.cpu_count() or 1))),
        ("core", "load_examples"): "False",
        ("core", "dags_folder"): str(folder / "dags"),
        ("core", "plugins_folder"): str(folder / "plugins"),
        ("core", "fernet_key"): credentials.airflow_fernet_key,
        ("core", "execution_api_server_url"): f"{home.airflow_url}/execution/",
        # A published workflow is meant to run; pausing it is a separate act.
        ("core", "dags_are_paused_at_creation"): "False",
        # The default (30 s) skips writing a workflow that is published twice within it: old graph, new code.
        ("core", "min_serialized_dag_update_interval"): "0",
        # A run that begins again stays on its version, backfills included: their default is another one.
        ("core", "rerun_with_latest_version"): "False",
        ("core", "simple_auth_manager_users"): f"{USER}:admin",
        ("core", "simple_auth_manager_passwords_file"): str(folder / "passwords.json"),
        ("database", "sql_alchemy_conn"): cluster.url("airflow", "postgresql+psycopg2"),
        ("api", "host"): "127.0.0.1",
        ("api", "port"): str(home.airflow_port),
        ("api", "base_url"): home.airflow_url,
        ("api", "workers"): "1",
        ("api", "secret_key"): credentials.airflow_secret_key,
        ("api", "expose_config"): "False",
        ("api_auth", "jwt_secret"): credentials.airflow_jwt_secret,
        ("dag_processor", "dag_bundle_config_list"): orjson.dumps(bundles).decode(),
        ("dag_processor", "dag_bundle_storage_path"): str(folder / "bundles"),
        # The bundle holds compiled DAGs only; else each publish would have the processor read all of them for the word.
        ("core", "dag_discovery_safe_mode"): "False",
        # A publish forces a refresh. Where the bundle puts it off, for the file is being parsed, the next round is due.
        ("dag_processor", "bundle_refresh_check_interval"): "0",
        # A file with a new time is parsed at once anyway; parsing unchanged files again costs a core.
        ("dag_processor", "min_file_process_interval"): "3600",
        # Of a parse half is waiting for the database and for the processor itself; more than one slows the tasks down.
        ("dag_processor", "parsing_processes"): "1",
        # Our bundle removes its old versions itself: it knows which are in use, and can build them again.
        ("dag_processor", "stale_bundle_cleanup_interval"): "0",
        # Shorter than the default 1 s: it is the largest part of the latency between two tasks.
        ("scheduler", "scheduler_idle_sleep_time"): str(idle_seconds),
        # A lost worker is noticed after 20 s instead of 300; the lease of a unit is shorter still.
        ("scheduler", "task_instance_heartbeat_timeout"): "20",
        ("scheduler", "task_instance_heartbeat_timeout_detection_interval"): "5",
        ("scheduler", "task_instance_heartbeat_sec"): "3",
        ("workers", "min_heartbeat_interval"): "3",
        ("scheduler", "catchup_by_default"): "False",
        # What a dead scheduler had in hand is looked for every 20 s instead of 300.
        ("scheduler", "orphaned_tasks_check_interval"): "20",
        # No more tasks are queued than run at once, so a queued one starts at once, or its worker died with it.
        ("scheduler", "task_queued_timeout"): "60",
        ("scheduler", "task_queued_timeout_check_interval"): "20",
        # A task that starts while the API server does not answer yet, or any more, tries for a minute. At the default
        # (about 20 s) the first run of a fresh platform failed where the scheduler was up sooner than the API server.
        ("workers", "execution_api_retries"): "15",
        ("workers", "execution_api_retry_wait_max"): "6",
        ("logging", "base_log_folder"): str(home.logs / "tasks"),
        ("logging", "dag_processor_child_process_log_directory"): str(home.logs / "dag_processor"),
        # The connections with which pods are started: one an organisation, looked up by name when a task needs it.
        ("secrets", "backend"): "plugins.pod_connections.PodConnections",
        ("workers", "secrets_backend"): "plugins.pod_connections.PodConnections",
        ("usage_data_collection", "enabled"): "False",
    }
    if celery is not None:
        values |= celery.settings(cluster)
    return {f"AIRFLOW__{section}__{key}".upper(): value for (section, key), value in values.items()}


def environment(home: Home, credentials: Credentials, cluster: Cluster, base: Mapping[str, str]) -> dict[str, str]:
    """Return the whole environment of Airflow's processes.

    Nothing of the caller's Airflow and no model key: those reach a step through the control plane only.

    :raises PlatformError: ``AGENT_FACTORY_EGRESS_ALLOW`` cannot be read: every ``http_request`` would fail. Or another
        setting, Celery's for one, cannot be used.
    """
    try:
        egress_policy(base)
        result_max_bytes(base)
        segments_in_triggerer(base)
    except SettingsError as error:
        raise PlatformError(f"{error}.") from None
    # Where AWS is the control plane's place of objects, nobody else has the keys to it.
    withheld = ("AIRFLOW", "AGENT_FACTORY_", *(["AWS_"] if base.get("AGENT_FACTORY_OBJECT_BUCKET") else ()))
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith(withheld) and name not in (*MODEL_KEYS, "KUBECONFIG")
    }
    return {
        **kept,
        **settings(home, credentials, cluster, celery(base), scheduler_idle_seconds(base)),
        "AIRFLOW_HOME": str(home.path / "airflow"),
        "AGENT_FACTORY_API_URL": home.api_url,
        "AGENT_FACTORY_RUNTIME_TOKEN": credentials.runtime_token,
        SEGMENTS_IN_TRIGGERER: base.get(SEGMENTS_IN_TRIGGERER, ""),
        EGRESS_ALLOW: base.get(EGRESS_ALLOW, ""),
        POD_CONFIGS: base.get(POD_CONFIGS, ""),
        RESULT_MAX_BYTES: base.get(RESULT_MAX_BYTES, ""),
        AIRFLOW_RETENTION_DAYS: base.get(AIRFLOW_RETENTION_DAYS, ""),
        PRELOAD: ",".join(_preloaded(base)),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), base.get("PATH", os.defpath))),
    }


def _preloaded(base: Mapping[str, str]) -> Iterator[str]:
    yield from (provider for name, provider in MODEL_KEYS.items() if base.get(name))
    if base.get("AGENT_FACTORY_ISOLATION") == "kubernetes":
        yield PRELOAD_KUBERNETES


def scheduler_idle_seconds(base: Mapping[str, str]) -> float:
    """Return how long a scheduler with nothing to do sleeps.

    :raises PlatformError: The variable holds something else than seconds from 0.01 to 10.
    """
    text = base.get(SCHEDULER_IDLE) or str(IDLE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.01 <= seconds <= 10:
        raise PlatformError(f"{SCHEDULER_IDLE} must be a number of seconds from 0.01 to 10; got {text!r}.")
    return seconds


def prepare(home: Home, credentials: Credentials) -> None:
    """Make Airflow's folders and its password file."""
    folder = home.path / "airflow"
    for name in ("dags", "plugins", "bundles"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(folder / "passwords.json", orjson.dumps({USER: credentials.airflow_password}))


def command(*arguments: str) -> list[str]:
    """Return the command line of an ``airflow`` subcommand in this Python environment."""
    return [sys.executable, "-m", "airflow", *arguments]
