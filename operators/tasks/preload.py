"""Imports what tasks need before the scheduler forks its workers.

A task of LocalExecutor runs in a fork of a worker, which is a fork of the scheduler. What is imported there is at hand
in each task; else each task would spend more time on imports than on its steps.
"""

from __future__ import annotations

import importlib
import os

from operators.settings import PRELOAD

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


def preload() -> None:
    """Import the modules, read the certificates that HTTP clients trust, and load the SDKs of ``PRELOAD``."""
    for module in MODULES:
        importlib.import_module(module)
    from operators.ai.providers import load_sdk
    from operators.tls import own_context

    own_context()
    for provider in filter(None, os.environ.get(PRELOAD, "").split(",")):
        load_sdk(provider)
