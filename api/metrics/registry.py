"""What is counted. Each process counts for itself; Prometheus adds its processes up.

Labels have few values: methods, route templates, classes of status. Nothing of a tenant is one.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

_REQUEST_SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STEP_SECONDS = (0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)

HTTP_REQUESTS = Counter(
    "http_requests_total", "Requests that were answered.", ("method", "route", "status"), registry=REGISTRY
)
HTTP_SECONDS = Histogram(
    "http_request_duration_seconds",
    "From a request's head to the end of its answer. Long polls wait as long as they were asked to.",
    ("method", "route"),
    buckets=_REQUEST_SECONDS,
    registry=REGISTRY,
)
HTTP_AT_WORK = Gauge("http_requests_in_progress", "Requests that are not answered yet.", registry=REGISTRY)

EXECUTIONS = Counter(
    "workflow_executions_total", "Executions that ended, each time one did: it may run again.", registry=REGISTRY
)
EXECUTIONS_SUCCESS = Counter("workflow_executions_success_total", "Executions that ended well.", registry=REGISTRY)
EXECUTIONS_FAILED = Counter("workflow_executions_failed_total", "Executions that failed.", registry=REGISTRY)

TASK_SECONDS = Histogram(
    "task_execution_duration",
    "Seconds that steps took, all attempts together.",
    buckets=_STEP_SECONDS,
    registry=REGISTRY,
)
TASK_SUCCESS = Counter("task_success_total", "Steps that succeeded.", registry=REGISTRY)
TASK_ERROR = Counter("task_error_total", "Steps that failed.", registry=REGISTRY)

RATE_LIMITED = Counter("rate_limited_requests_total", "Requests answered 429.", ("policy",), registry=REGISTRY)
RATE_LIMIT_ERRORS = Counter(
    "rate_limit_store_errors_total", "Times that Redis could not count a request.", registry=REGISTRY
)

RELAY_WAITING = Gauge(
    "relay_waiting", "Orders that Airflow has not been told of. The same in each process: take the max.",
    registry=REGISTRY,
)  # fmt: skip
RELAY_OLDEST_SECONDS = Gauge("relay_oldest_waiting_seconds", "Age of the oldest of them.", registry=REGISTRY)
RELAY_DEAD_LETTERS = Gauge("relay_dead_letters", "Orders that were given up.", registry=REGISTRY)
RELAY_KNOWN = Gauge("relay_state_known", "1 where the three above could be read, else 0.", registry=REGISTRY)

BROKER_CONNECTED = Gauge(
    "broker_connected", "1 while this process has a connection to the broker that events are published to.",
    registry=REGISTRY,
)  # fmt: skip
