"""The step types the runner knows."""

from __future__ import annotations

from operators.steps.ai_inference import AiInference
from operators.steps.base import Handler
from operators.steps.code import Code
from operators.steps.conditional import Conditional
from operators.steps.respond import Respond
from operators.steps.transform import Transform

HANDLERS: dict[str, Handler] = {
    "ai_inference": AiInference(),
    "code": Code(),
    "conditional": Conditional(),
    "respond": Respond(),
    "transform": Transform(),
}
