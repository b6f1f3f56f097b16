"""The step types the runner knows."""

from __future__ import annotations

from operators.steps.ai_inference import AiInference
from operators.steps.approval import Approval
from operators.steps.base import Handler, WaitingHandler
from operators.steps.conditional import Conditional
from operators.steps.respond import Respond
from operators.steps.transform import Transform
from operators.steps.wait import Wait

HANDLERS: dict[str, Handler | WaitingHandler] = {
    "ai_inference": AiInference(),
    "approval": Approval(),
    "conditional": Conditional(),
    "respond": Respond(),
    "transform": Transform(),
    "wait": Wait(),
}
