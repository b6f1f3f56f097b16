"""Pins: the versions of workflows that calls of others name."""
