"""POST /api/v1/agents/{id}/test: drafts run in this process, told step by step."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.settings import Settings
from api.trials.slots import TrialSlots
from tests.api.agents.designing import Agent, become, make_agent, rows_of, set_variable
from tests.api.control_plane import ControlPlane, workflow
from tests.stubs.http_server import HttpServer

pytestmark = pytest.mark.platform

INPUT = {"name": "Ann"}


def task(name: str, kind: str = "transform", **more: Any) -> dict[str, Any]:
    return {"id": name, "type": kind, "config": {"set": {}}} | more


def calling(name: str, url: str = "https://example.org/x", **more: Any) -> dict[str, Any]:
    return task(name, "http_request", config={"method": "POST", "url": url}, **more)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of an answer: names and data."""
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def run(agent: Agent, **body: Any) -> list[tuple[str, dict[str, Any]]]:
    response = await agent.post("test", json={"input": INPUT} | body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events_of(response.text)


async def refused(agent: Agent, **body: Any) -> dict[str, Any]:
    response = await agent.post("test", json={"input": INPUT} | body)
    assert response.status_code == 422, response.text
    problem: dict[str, Any] = response.json()
    return problem


class TestWholeDraft:
    async def test_step_by_step(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        started, hello, bye, finished = await run(agent)
        assert started == ("started", {"steps": ["hello", "bye"], "seconds": 120.0})
        assert (hello[0], hello[1]["step_id"], hello[1]["output"]) == ("step", "hello", {"text": "Hello Ann"})
        assert (bye[1]["step_id"], bye[1]["status"]) == ("bye", "success")
        assert finished[1]["status"] == "success"
        assert finished[1]["output"] == {"bye": {"text": "Hello Ann, bye"}}
        assert finished[1]["steps"] == {"hello": "success", "bye": "success"}

    async def test_nothing_is_kept(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        before = await rows_of(control_plane, "default")
        await run(agent)
        assert await rows_of(control_plane, "default") == before
        assert (await agent.show())["status"] == "draft"

    async def test_pins_take_the_place_of_steps(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        events = await run(agent, pins={"hello": {"text": "Pinned"}})
        assert events[-1][1]["output"] == {"bye": {"text": "Pinned, bye"}}

    async def test_a_pinned_list_is_one_output(self, control_plane: ControlPlane) -> None:
        show = task("show", config={"set": {"n": "{{ get.output }}"}})
        agent = await make_agent(control_plane, workflow(tasks=[calling("get", next=["show"]), show]))
        events = await run(agent, pins={"get": [{"error": "no"}, 2]})
        assert events[-1][1]["output"] == {"show": {"n": [{"error": "no"}, 2]}}

    async def test_failure(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[task("a", config={"set": {"x": "{{ 1 / 0 }}"}})]))
        events = await run(agent)
        assert [name for name, _ in events] == ["started", "step", "finished"]
        assert events[1][1]["error"]["code"] == events[2][1]["error"]["code"]
        assert events[2][1]["status"] == "failed"

    async def test_input_is_checked(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        events = await run(agent, input={})
        assert [name for name, _ in events] == ["started", "finished"]
        assert events[-1][1]["error"]["code"] == "invalid_input"

    async def test_variables(self, control_plane: ControlPlane) -> None:
        one = task("a", config={"set": {"x": "{{ vars.greeting }} {{ vars.name }}"}})
        agent = await make_agent(control_plane, workflow(vars=["greeting", "name"], tasks=[one]))
        async with control_plane.database.system() as session:
            await set_variable(session, "default", "greeting", "Hi")
        events = await run(agent, vars={"name": "Bo"})
        assert events[-1][1]["output"] == {"a": {"x": "Hi Bo"}}

    async def test_of_a_draft_with_errors(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[]))
        assert (await refused(agent))["code"] == "invalid_workflow"

    @pytest.mark.parametrize("body", [{"pins": []}, {"live": 1}, {"step": 1}, {"seconds": 9}, {"journal": True}])
    async def test_bad_body(self, control_plane: ControlPlane, body: dict[str, Any]) -> None:
        assert (await refused(await make_agent(control_plane), **body))["code"] == "invalid_request"

    async def test_a_model_is_called(self, control_plane: ControlPlane) -> None:
        ask = task("ask", "ai_inference", config={"model": "gpt-4", "prompt": "Hello {{ input.name }}"})
        agent = await make_agent(control_plane, workflow(tasks=[ask]))
        events = await run(agent)
        assert events[-1][1]["status"] == "success"
        assert events[1][1]["usage"][0]["provider"] == "test"

    async def test_large_outputs_are_left_out(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[task("a", config={"set": {"x": "{{ input.long }}"}})]))
        events = await run(agent, input={"name": "x", "long": "y" * 300_000})
        assert events[1][1]["output"] is events[2][1]["output"] is None
        assert events[1][1]["output_left_out_bytes"] > 300_000


class TestOneStep:
    async def test_with_pinned_outputs_of_others(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        events = await run(agent, step="bye", pins={"hello": {"text": "Good day"}}, input=None)
        assert [name for name, _ in events] == ["started", "step", "finished"]
        assert events[0][1]["steps"] == ["bye"]
        assert events[1][1]["output"] == events[2][1]["output"] == {"text": "Good day, bye"}

    async def test_what_it_reads_must_be_pinned(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        events = await run(agent, step="bye")
        assert events[-1][1]["status"] == "failed"
        assert "hello" in events[-1][1]["error"]["message"]

    async def test_first_step_of_many_runs_alone(self, control_plane: ControlPlane) -> None:
        # The other one would have to be pinned if it ran.
        tasks = [task("a", next=["b"]), calling("b")]
        agent = await make_agent(control_plane, workflow(tasks=tasks))
        events = await run(agent, step="a")
        assert events[-1][1]["steps"] == {"a": "success"}

    async def test_a_map(self, control_plane: ControlPlane) -> None:
        body = {"over": "{{ list.output.items }}", "tasks": [calling("send")]}
        tasks = [task("list", config={"set": {"items": "{{ [3] }}"}}, next=["each"]), task("each", "map", config=body)]
        agent = await make_agent(control_plane, workflow(tasks=tasks))
        pins = {"list": {"items": [1, 2]}, "send": "sent"}
        events = await run(agent, step="each", pins=pins)
        assert events[-1][1]["output"] == [{"send": "sent"}, {"send": "sent"}]

    @pytest.mark.parametrize("step", ["nobody", "helo", "", "hello.x"])
    async def test_unknown(self, control_plane: ControlPlane, step: str) -> None:
        agent = await make_agent(control_plane)
        assert (await refused(agent, step=step))["code"] == "unknown_task"
        assert (await refused(agent, pins={step: 1}))["code"] == "unknown_task"


class TestEffects:
    async def test_must_be_pinned(self, control_plane: ControlPlane) -> None:
        emit = task("tell", "emit_event", config={"type": "made", "data": {}})
        agent = await make_agent(control_plane, workflow(tasks=[calling("send"), emit]))
        problem = await refused(agent)
        assert (problem["code"], problem["steps"]) == ("must_be_pinned", ["send", "tell"])
        assert (await refused(agent, pins={"send": 1}))["steps"] == ["tell"]
        assert (await refused(agent, step="send"))["steps"] == ["send"]
        # A pin of the step that is to run does not make it quiet.
        assert (await refused(agent, step="send", pins={"send": 1}))["steps"] == ["send"]
        assert (await run(agent, pins={"send": 1, "tell": 2}))[-1][1]["status"] == "success"

    async def test_inside_of_maps(self, control_plane: ControlPlane) -> None:
        body = {"over": "{{ [1, 2] }}", "tasks": [calling("send")]}
        agent = await make_agent(control_plane, workflow(tasks=[task("each", "map", config=body)]))
        assert (await refused(agent))["steps"] == ["send"]
        assert (await run(agent, pins={"send": 7}))[-1][1]["output"] == {"each": [{"send": 7}, {"send": 7}]}
        assert (await run(agent, pins={"each": [8]}))[-1][1]["output"] == {"each": [8]}

    async def test_inside_of_workflows_that_are_called(self, control_plane: ControlPlane) -> None:
        child = workflow(id="child", tasks=[calling("send")], trigger={"type": "manual"}, input={})
        await control_plane.publish(child)
        call = task("call", "workflow", config={"workflow": "child", "input": {}})
        agent = await make_agent(control_plane, workflow(tasks=[call]))
        assert (await refused(agent))["steps"] == ["child.send"]
        assert (await run(agent, pins={"child.send": 5}))[-1][1]["output"] == {"call": {"send": 5}}
        assert (await run(agent, pins={"call": 6}))[-1][1]["output"] == {"call": 6}
        # Of another organisation it is not there.
        await become(control_plane, "other")
        agent = await make_agent(control_plane, workflow(tasks=[call]))
        assert (await run(agent))[-1][1]["error"]["message"].startswith("step 'call' failed")
        assert (await refused(agent, pins={"child.send": 5}))["code"] == "unknown_task"

    async def test_anothers_workflow_is_as_one_that_is_not_there(self, control_plane: ControlPlane) -> None:
        """The neighbour has published ``greet``."""
        answers = []
        for name in ("greet", "nobody"):
            call = task("call", "workflow", config={"workflow": name, "input": INPUT})
            agent = await make_agent(control_plane, workflow(id=f"calls_{name}", tasks=[call]))
            assert (await refused(agent, pins={f"{name}.hello": {}}))["code"] == "unknown_task"
            preview = (await agent.post("preview")).json()
            finished = (await run(agent))[-1][1]
            assert finished["status"] == "failed"
            answers.append(json.dumps([finished, preview["diagnostics"], preview["estimate"]]).replace(name, "x"))
        assert answers[0] == answers[1]

    async def test_live_ones_are_done(self, control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AGENT_FACTORY_EGRESS_ALLOW", "127.0.0.1")
        hearing = workflow(id="hearing", trigger={"type": "event", "config": {"type": "made"}})
        await control_plane.publish(hearing)
        emit = task("tell", "emit_event", config={"type": "made", "data": INPUT})
        with HttpServer() as server:
            server.on("/hook", lambda exchange: exchange.answer())
            agent = await make_agent(control_plane, workflow(tasks=[calling("send", server.url("/hook")), emit]))
            events = await run(agent, live=True)
            assert [request.method for request in server.requests] == ["POST"]
        assert events[-1][1]["steps"] == {"send": "success", "tell": "success"}, events
        async with control_plane.database.system() as session:
            started = await session.scalar(text("SELECT trigger->'event'->>'source' FROM workflow_executions"))
        assert started.startswith("/default/workflows/greet/tests/test-")

    async def test_approvals_have_nobody_to_ask(self, control_plane: ControlPlane) -> None:
        ask = task("ask", "approval", config={"title": "May I?"})
        agent = await make_agent(control_plane, workflow(tasks=[ask]))
        assert (await refused(agent, live=True))["steps"] == ["ask"]
        events = await run(agent, pins={"ask": {"decision": "approve"}})
        assert events[-1][1]["status"] == "success"


class TestCode:
    CODE = task("work", "code", config={"language": "python"}, code="def main(input):\n    return 1\n")

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"isolation": "kubernetes"})

    async def test_pods_are_refused(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, workflow(tasks=[self.CODE]))
        problem = await refused(agent, live=True)
        assert (problem["code"], problem["steps"]) == ("needs_pods", ["work"])
        assert (await run(agent, pins={"work": 2}))[-1][1]["output"] == {"work": 2}

    async def test_one_in_a_map(self, control_plane: ControlPlane) -> None:
        each = task("each", "map", config={"over": "{{ [1, 2] }}", "tasks": [self.CODE]})
        agent = await make_agent(control_plane, workflow(tasks=[each]))
        assert (await refused(agent))["steps"] == ["work"]
        # A pin of one item is none of the others.
        assert (await refused(agent, pins={"each[0].work": 2}))["steps"] == ["work"]
        assert (await run(agent, pins={"work": 2}))[-1][1]["output"] == {"each": [{"work": 2}, {"work": 2}]}


WAIT = workflow(tasks=[task("wait", "wait", config={"seconds": 60})])


class TestBounds:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"trial_max_seconds": 0.2, "trials_per_organization": 1})

    async def test_time(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane, WAIT)
        events = await run(agent)
        assert events[-1][1]["error"]["code"] == "test_timeout"
        # Its place is free again.
        await run(agent)

    async def test_number(self, control_plane: ControlPlane) -> None:
        agent = await make_agent(control_plane)
        slots: TrialSlots = control_plane.app.state.trials
        mine = control_plane.app.state.organization_id
        slots.take(mine)
        response = await agent.post("test", json={"input": INPUT})
        assert (response.status_code, response.json()["code"]) == (429, "too_many_tests")
        assert response.headers["retry-after"]
        slots.give_back(mine)
        await run(agent)
        assert slots.taken(mine) == 0
        # Those of others do not count.
        slots.take(await become(control_plane, "other"))
        await run(await make_agent(control_plane))


async def test_it_ends_when_the_caller_goes(control_plane: ControlPlane, served_url: str) -> None:
    agent = await make_agent(control_plane, WAIT)
    slots: TrialSlots = control_plane.app.state.trials
    mine = control_plane.app.state.organization_id
    ended, give_back = asyncio.Event(), slots.give_back

    def note(organization_id: Any) -> None:
        give_back(organization_id)
        ended.set()

    slots.give_back = note  # type: ignore[method-assign]
    async with httpx.AsyncClient(base_url=served_url, headers={"authorization": "Bearer api-token"}) as client:
        async with client.stream("POST", f"{agent.url}/test", json={"input": INPUT}) as response:
            assert (await anext(response.aiter_lines())) == "event: started"
            assert slots.taken(mine) == 1
            assert "trial" in {each.get_name() for each in asyncio.all_tasks()}
        await asyncio.wait_for(ended.wait(), 30)
    assert slots.taken(mine) == 0
    assert "trial" not in {each.get_name() for each in asyncio.all_tasks()}
