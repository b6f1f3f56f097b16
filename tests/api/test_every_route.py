"""Every route of the OpenAPI document, those to come too: what it answers is documented, and what it takes is checked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import pytest
import schemathesis
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from pydantic import BaseModel
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api.app import create_app
from api.gateway.server import server_options
from api.settings import Settings
from tests.api.control_plane import WORKFLOW_ID, workflow

pytestmark = pytest.mark.platform

EXAMPLES = 12
"""Requests for each operation."""
