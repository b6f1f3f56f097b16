"""Whatever is sent to the designer's routes: nothing that is not asked for is taken."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from api.agents.endpoints import router as agents
from api.agents.version_endpoints import router as versions
from api.trials.endpoints import router as trials

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("router", [agents, versions, trials])
def test_every_body_forbids_unknown_fields(router: APIRouter) -> None:
    routes = [route for route in router.routes if isinstance(route, APIRoute)]
    assert routes
    for route in routes:
        for parameter in route.dependant.body_params:
            model = parameter.field_info.annotation
            assert isinstance(model, type), route.path
            assert getattr(model, "model_config", {}).get("extra") == "forbid", route.path
