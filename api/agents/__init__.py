"""Agents: what designers make. Each has a draft and published versions."""
