"""What Airflow loads of Agent Factory, by entry point."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class AgentFactoryPlugin(AirflowPlugin):
    """The plugin's name in Airflow's list of plugins; views come with later parts of the product."""

    name = "agent_factory"
