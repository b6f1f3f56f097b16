"""Runs tenant code in Kubernetes pods: isolation ``kubernetes``. Free of Airflow.

``pool.py`` has a step's job done in a pod; ``spec.py`` makes the pod's description from the plan's by code;
``failures.py`` says what a pod's status means; ``cluster.py`` speaks with the API server. ``inside/`` holds the programs
that run in the pod.
"""
