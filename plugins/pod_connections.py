"""Airflow's connections to the organisations' namespaces: one each, named by the organisation's slug."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from airflow.secrets import BaseSecretsBackend

from compiler.fields import is_organization
from operators.settings import POD_CONFIGS, POD_CONNECTION


class PodConnections(BaseSecretsBackend):
    """Finds ``agent_factory_pods_<slug>`` where the control plane has written ``<slug>.kubeconfig``.

    The folder is ``AGENT_FACTORY_POD_CONFIGS``. The answer is a path only: whoever uses the connection reads the file
    anew, so that a renewed token counts at once, and no key comes into Airflow's database, logs or triggers.
    """

    def get_conn_value(self, conn_id: str, team_name: str | None = None, **_: Any) -> str | None:
        """Return a connection as JSON; None for any other, which Airflow then looks for elsewhere."""
        folder = os.environ.get(POD_CONFIGS)
        if not folder or not conn_id.startswith(POD_CONNECTION):
            return None
        slug = conn_id.removeprefix(POD_CONNECTION).replace("_", "-")
        path = Path(folder) / f"{slug}.kubeconfig"
        if not is_organization(slug) or not path.is_file():
            return None
        return json.dumps({"conn_type": "kubernetes", "extra": {"kube_config_path": str(path)}})

    def get_variable(self, key: str, team_name: str | None = None, **_: Any) -> str | None:
        """Know no variables."""
        return None

    def get_config(self, key: str) -> str | None:
        """Know no settings."""
        return None
