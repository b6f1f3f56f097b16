"""Upkeep: jobs that keep the tables and Airflow in order, called by the DAGs in ``dags/``."""
