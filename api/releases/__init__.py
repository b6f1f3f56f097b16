"""Releases: what Airflow loads."""
