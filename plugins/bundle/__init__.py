"""The DAG bundle: what is published, pulled from the control plane for Airflow to load and to run."""

from plugins.bundle.bundle import AgentFactoryBundle

__all__ = ["AgentFactoryBundle"]
