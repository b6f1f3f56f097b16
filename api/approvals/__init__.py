"""Approvals: what people are asked to decide in the middle of an execution."""
