"""Reconciliation: executions and Airflow's runs are brought together where one has ended and the other has not."""
