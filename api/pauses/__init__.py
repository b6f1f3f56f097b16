"""Pauses: executions of an organisation or of a workflow wait, and Airflow is told nothing of them."""
