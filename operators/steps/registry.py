"""The step types the runner knows."""

from __future__ import annotations

from operators.steps.ai_inference import AiInference
from operators.steps.base import Handler
from operators.steps.conditional import Conditional
from operators.steps.map import Map
from operators.steps.respond import Respond
from operators.steps.transform import Transform

HANDLERS: dict[str, Handler] = {
    "ai_inference": AiInference(),
    "conditional": Conditional(),
    "map": Map(),
    "respond": Respond(),
    "transform": Transform(),
}
