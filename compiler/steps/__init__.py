"""The step types: one config model each. What a step does is in ``operators/``, under the same name."""

from compiler.steps.agent import AgentConfig
from compiler.steps.ai_inference import AIInferenceConfig
from compiler.steps.approval import ApprovalConfig
from compiler.steps.base import Choice, Single, StepConfig
from compiler.steps.code import CodeConfig
from compiler.steps.conditional import ConditionalConfig
from compiler.steps.container import ContainerConfig
from compiler.steps.emit_event import EmitEventConfig
from compiler.steps.http_request import HTTPRequestConfig
from compiler.steps.integration import IntegrationConfig
from compiler.steps.map import MapConfig
from compiler.steps.respond import RespondConfig
from compiler.steps.retrieve import RetrieveConfig
from compiler.steps.transform import TransformConfig
from compiler.steps.wait import WaitConfig
from compiler.steps.workflow import WorkflowConfig

STEP_TYPES: dict[str, type[StepConfig]] = {
    "ai_inference": AIInferenceConfig,
    "agent": AgentConfig,
    "conditional": ConditionalConfig,
    "integration": IntegrationConfig,
    "http_request": HTTPRequestConfig,
    "transform": TransformConfig,
    "retrieve": RetrieveConfig,
    "respond": RespondConfig,
    "emit_event": EmitEventConfig,
    "code": CodeConfig,
    "container": ContainerConfig,
    "approval": ApprovalConfig,
    "wait": WaitConfig,
    "workflow": WorkflowConfig,
    "map": MapConfig,
}
"""Step type -> its config model: the one table of types."""

__all__ = ["STEP_TYPES", "Choice", "Single", "StepConfig"]
