"""Executions: accepting them, waiting for them, showing them."""
