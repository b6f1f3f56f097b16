"""Inputs prepared for runs that are started in Airflow."""
