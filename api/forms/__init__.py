"""What the form in Airflow's UI needs: a workflow's input schema, and a way to start it."""
