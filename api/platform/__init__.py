"""The embedded platform: PostgreSQL from a wheel, Airflow with LocalExecutor, the control plane, run as one.

For development, demos and tests. Production gives ``AGENT_FACTORY_DATABASE_URL`` and an Airflow of its own.
"""
