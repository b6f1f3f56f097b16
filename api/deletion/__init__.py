"""Deletion of an organisation with everything that is its."""
