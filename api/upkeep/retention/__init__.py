"""Retention: what is old is removed."""
