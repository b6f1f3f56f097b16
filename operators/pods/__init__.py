"""Runs tenant code in Kubernetes pods: isolation ``kubernetes``. Free of Airflow.

``pool.py`` and ``visit.py`` have a step's job done in a pod; ``spec.py`` makes the pod's description from the plan's;
``failures.py`` says what a pod's status means; ``cluster.py`` speaks with the API server. ``inside/`` holds the
programs that run in the pod.
"""
