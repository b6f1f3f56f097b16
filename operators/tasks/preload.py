"""Imports what tasks need before the scheduler forks its workers, and what DAGs need before the DAG processor forks.

A task of LocalExecutor runs in a fork of a worker, which is a fork of the scheduler. What is imported there is at hand
in each task; else each task would spend more time on imports than on its steps. Likewise each DAG file is read in a
fork of the DAG processor: where units run in pods, more than two seconds of a publish would be imports.
"""

from __future__ import annotations

import importlib
import os

from operators.settings import PRELOAD, PRELOAD_KUBERNETES

MODULES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "anyio._backends._asyncio",
    "operators.execution.http",
    "operators.execution.runner",
    "operators.steps.registry",
    "operators.tasks.runs",
    "operators.tasks.segment",
)
DAGS_IN_PODS = ("operators.tasks.pod",)
IN_PODS = (
    *DAGS_IN_PODS,
    "airflow.providers.cncf.kubernetes.hooks.kubernetes",
    "kubernetes.stream",
    "operators.pods.visit",
    "operators.steps.pod",
)


def preload() -> None:
    """Import the modules, read the certificates that HTTP clients trust, and load what ``PRELOAD`` names."""
    named = _named()
    for module in (*MODULES, *(IN_PODS if PRELOAD_KUBERNETES in named else ())):
        importlib.import_module(module)
    from operators.ai.providers import load_sdk
    from operators.tls import own_context

    own_context()
    for provider in named - {PRELOAD_KUBERNETES}:
        load_sdk(provider)


def preload_dags() -> None:
    """Import what compiled DAGs import that takes long."""
    for module in DAGS_IN_PODS if PRELOAD_KUBERNETES in _named() else ():
        importlib.import_module(module)


def _named() -> set[str]:
    return set(filter(None, os.environ.get(PRELOAD, "").split(",")))
