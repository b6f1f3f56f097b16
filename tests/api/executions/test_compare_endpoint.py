"""GET /api/v1/executions/{id}/compare/{other}, and what steps were given."""

from __future__ import annotations

from typing import Any

import pytest

from api.organizations.repository import OrganizationRepository
from operators.execution.records import StepError, StepRecord, Usage
from tests.api.control_plane import UNIT, ControlPlane, workflow

pytestmark = pytest.mark.platform

USAGE = Usage(provider="openai", model="m", input_tokens=20, output_tokens=5, cost_usd=0.5)


async def run(plane: ControlPlane, document: dict[str, Any], *steps: StepRecord, name: str = "Ann") -> str:
    digest = (await plane.publish(document))["digest"]
    execution_id = await plane.execute({"name": name})
    token = (await plane.lease(execution_id, digest))["token"]
    await plane.journal(execution_id, token, *steps)
    body = {"unit": UNIT, "token": token, "status": "success", "output": {"done": name}}
    assert (await plane.call(execution_id, "finish", body)).status_code == 200
    return execution_id


async def compare(plane: ControlPlane, left: str, right: str) -> dict[str, Any]:
    response = await plane.api.get(f"/api/v1/executions/{left}/compare/{right}")
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def hello(text: str, **changes: Any) -> StepRecord:
    return StepRecord(id="hello", status="success", attempts=1, output={"text": text}, duration_ms=3, **changes)


class TestCompare:
    async def test_anonymous(self, control_plane: ControlPlane) -> None:
        path = "/api/v1/executions/x/compare/y"
        assert (await control_plane.public.get(path)).status_code == 401

    async def test_two_versions(self, control_plane: ControlPlane) -> None:
        bye = StepRecord(id="bye", status="failed", attempts=3, error=StepError(code="timeout", message="late"))
        left = await run(control_plane, workflow(), hello("Hello Ann", usage=[USAGE]), bye)
        task = {"id": "hello", "type": "transform", "config": {"set": {"text": "x"}}, "next": ["other"]}
        other = {"id": "other", "type": "transform", "config": {"set": {"y": "1"}}}
        document = workflow(tasks=[task, other])
        right = await run(control_plane, document, hello("Hello Bob"), name="Bob")
        compared = await compare(control_plane, left, right)
        assert (compared["left"]["version"], compared["right"]["version"]) == (1, 2)
        assert compared["same_version"] is False
        assert [step["id"] for step in compared["steps"]] == ["hello", "bye", "other"]
        first, second, third = compared["steps"]
        assert (first["left"]["input_tokens"], first["right"]["input_tokens"]) == (20, 0)
        assert first["output"]["differences"] == [
            {"pointer": "/text", "kind": "changed", "left": "Hello Ann", "right": "Hello Bob", "left_bytes": None,
             "right_bytes": None}
        ]  # fmt: skip
        assert (second["left"]["attempts"], second["left"]["error_code"], second["right"]) == (3, "timeout", None)
        assert (third["left"], third["output"]) == (None, None)
        assert [each["pointer"] for each in compared["input"]["differences"]] == ["/name"]
        assert [each["pointer"] for each in compared["output"]["differences"]] == ["/done"]

    async def test_with_itself(self, control_plane: ControlPlane) -> None:
        execution_id = await run(control_plane, workflow(), hello("Hello Ann"))
        compared = await compare(control_plane, execution_id, execution_id)
        assert compared["same_version"] is True
        assert all(step["output"]["same"] for step in compared["steps"])

    async def test_anothers_is_not_there_on_either_side(self, control_plane: ControlPlane) -> None:
        theirs = await run(control_plane, workflow(), hello("Hello Ann"))
        async with control_plane.database.system() as session:
            control_plane.act_for(await OrganizationRepository(session).ensure("other"))
        for pair in (f"{theirs}/compare/{theirs}", f"x/compare/{theirs}", f"{theirs}/compare/x"):
            assert (await control_plane.api.get(f"/api/v1/executions/{pair}")).status_code == 404


class TestParts:
    async def show(self, plane: ControlPlane, execution_id: str, *include: str) -> dict[str, Any]:
        response = await plane.api.get(f"/api/v1/executions/{execution_id}", params={"include": list(include)})
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def test_inputs_are_derived_from_the_journal(self, control_plane: ControlPlane) -> None:
        execution_id = await run(control_plane, workflow(), hello("Hello Ann"))
        shown = await self.show(control_plane, execution_id, "step_inputs")
        first, second = shown["steps"]
        assert first["input"] == {"derived": True, "config": first["input"]["config"], "left_out": []}
        assert first["input"]["config"]["set"] == {"text": "Hello Ann"}
        # It never began.
        assert second["input"] is None
        assert (shown["input"], shown["output"], first["output"]) == (None, None, None)

    async def test_what_cannot_be_evaluated_any_more_is_named(self, control_plane: ControlPlane) -> None:
        bye = StepRecord(id="bye", status="failed", attempts=1, error=StepError(code="expression_error", message="?"))
        missing = StepRecord(id="hello", status="success", attempts=1, output={})
        execution_id = await run(control_plane, workflow(), missing, bye)
        shown = await self.show(control_plane, execution_id, "step_inputs")
        assert shown["steps"][1]["input"]["left_out"] == ["set"]

    async def test_small_answers(self, control_plane: ControlPlane) -> None:
        execution_id = await run(control_plane, workflow(), hello("Hello Ann"))
        everything = await control_plane.show(execution_id)
        assert everything["steps"][0]["output"] == {"text": "Hello Ann"}
        assert everything["steps"][0]["input"] is None
        only = await self.show(control_plane, execution_id, "output")
        assert (only["output"], only["input"], only["trigger"], only["steps"]) == ({"done": "Ann"}, None, None, [])
        steps = await self.show(control_plane, execution_id, "steps")
        assert [step["output"] for step in steps["steps"]] == [None, None]

    async def test_unknown_part(self, control_plane: ControlPlane) -> None:
        response = await control_plane.api.get("/api/v1/executions/x", params={"include": "secrets"})
        assert response.status_code == 422
