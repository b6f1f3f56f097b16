"""The light step types the runner knows."""

from __future__ import annotations

from operators.steps.ai_inference import AiInference
from operators.steps.base import Handler
from operators.steps.conditional import Conditional
from operators.steps.http_request import HttpRequest
from operators.steps.respond import Respond
from operators.steps.transform import Transform

HANDLERS: dict[str, Handler] = {
    "ai_inference": AiInference(),
    "conditional": Conditional(),
    "http_request": HttpRequest(),
    "respond": Respond(),
    "transform": Transform(),
}
