"""Workflows: publishing them, and what is published."""
