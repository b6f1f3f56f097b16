"""Calls that leave the platform for addresses a tenant chose: resolved, checked and pinned. Free of Airflow."""

from operators.egress.client import EgressClient, EgressRequest, EgressResponse
from operators.egress.errors import EgressError
from operators.egress.policy import EgressPolicy

__all__ = ["EgressClient", "EgressError", "EgressPolicy", "EgressRequest", "EgressResponse"]
