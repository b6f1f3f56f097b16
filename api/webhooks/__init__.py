"""Webhooks: the public door of workflows."""
