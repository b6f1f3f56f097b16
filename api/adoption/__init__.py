"""Adoption: executions for runs that were started in Airflow."""
