"""The step types the runner knows."""

from __future__ import annotations

from operators.steps.ai_inference import AiInference
from operators.steps.approval import Approval
from operators.steps.base import Handler, WaitingHandler
from operators.steps.code import Code
from operators.steps.conditional import Conditional
from operators.steps.emit_event import EmitEvent
from operators.steps.http_request import HttpRequest
from operators.steps.map import Map
from operators.steps.pod import PodCode, PodContainer
from operators.steps.respond import Respond
from operators.steps.transform import Transform
from operators.steps.wait import Wait
from operators.steps.workflow import WorkflowStep

HANDLERS: dict[str, Handler | WaitingHandler] = {
    "ai_inference": AiInference(),
    "approval": Approval(),
    "code": Code(),
    "conditional": Conditional(),
    "emit_event": EmitEvent(),
    "http_request": HttpRequest(),
    "map": Map(),
    "respond": Respond(),
    "transform": Transform(),
    "wait": Wait(),
    "workflow": WorkflowStep(),
}
IN_PODS: dict[str, Handler | WaitingHandler] = {"code": PodCode(), "container": PodContainer()}
"""Of the steps whose plan describes a pod."""
