"""Idempotency keys: the same request again starts nothing."""
