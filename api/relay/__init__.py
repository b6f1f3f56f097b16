"""The relay: tells Airflow of accepted executions (door 2), and of new releases (door 1's push)."""
