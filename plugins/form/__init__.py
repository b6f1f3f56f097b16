"""The form in Airflow's UI: a view on a DAG that asks for a workflow's input and starts it."""
