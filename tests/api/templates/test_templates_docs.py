"""The commands of docs/templates.md, one after another against a control plane."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.templates.library import TEMPLATES
from tests.api.agents.designing import AGENTS
from tests.api.agents.test_designer_docs import answers_in, run_page
from tests.api.control_plane import ControlPlane

pytestmark = pytest.mark.platform


async def test_every_command_is_answered(control_plane: ControlPlane, served_url: str, tmp_path: Path) -> None:
    out = await run_page("templates.md", served_url, tmp_path)
    assert all(f"{name}  public  " in out for name in TEMPLATES)
    assert "  own  First line (support, #mail)\n" in out
    answers = answers_in(out.partition("deleted\n")[2])
    assert [each["id"] for each in answers[0]["templates"]] == ["support_triage"]
    assert answers[1]["workflow_id"] == "refunds_of_shops"
    assert answers[2]["input_example"] == {"order": "A-1", "amount": 5}
    assert answers[3]["valid"] is True
    assert answers[4]["description"] == "Small refunds at once, large ones by a person."
    agents = (await control_plane.api.get(AGENTS)).json()["agents"]
    assert [each["workflow_id"] for each in agents] == [
        "refunds_of_one_shop",
        "refunds_of_shops",
        "second_line",
        "first_line",
    ]
    assert (await control_plane.api.get("/api/v1/templates", params={"source": "own"})).json()["templates"] == []
