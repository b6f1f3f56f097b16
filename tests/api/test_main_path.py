"""From publish to result, with a runner's calls made by hand."""

from __future__ import annotations

import pytest

from operators.execution.records import StepRecord
from tests.api.control_plane import UNIT, ControlPlane

pytestmark = pytest.mark.platform


async def test_publish_execute_lease_journal_settle_finish_show(control_plane: ControlPlane) -> None:
    published = await control_plane.publish()
    execution_id = await control_plane.execute()
    grant = await control_plane.lease(execution_id, published["digest"])
    assert grant["input"] == {"name": "Ann"}
    hello = StepRecord(id="hello", status="success", output={"text": "Hello Ann"}, attempts=1, duration_ms=1.5)
    bye = StepRecord(id="bye", status="success", output={"text": "Hello Ann, bye"}, attempts=1, duration_ms=0.5)
    await control_plane.journal(execution_id, grant["token"], hello, bye)

    settled = await control_plane.call(execution_id, "settle", {"unit": UNIT, "token": grant["token"]})
    assert settled.json()["steps"].keys() == {"hello", "bye"}
    assert settled.json()["active_units"] == []
    ending = {"unit": UNIT, "token": grant["token"], "status": "success", "output": {"bye": bye.output}}
    assert (await control_plane.call(execution_id, "finish", ending)).json()["status"] == "success"

    shown = await control_plane.show(execution_id)
    assert (shown["status"], shown["output"]) == ("success", {"bye": {"text": "Hello Ann, bye"}})
    assert [(step["id"], step["status"]) for step in shown["steps"]] == [("hello", "success"), ("bye", "success")]
    assert shown["duration_ms"] > 0
