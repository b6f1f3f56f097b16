"""Runs tenant code in child processes with limits: isolation ``process``. Free of Airflow.

``sandbox.py`` is used by the worker; it starts ``keeper.py``, a small program of the standard library, which makes a
process for each step with the protections of ``confinement.py`` and runs the step with ``python_step.py`` or
``node_step.js``.
"""
