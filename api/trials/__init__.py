"""Trials: tests of drafts, run in this process and told step by step. Nothing of them is kept."""
