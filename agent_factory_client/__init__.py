"""A typed client of the control plane's HTTP API.

>>> from agent_factory_client import AgentFactory
>>> with AgentFactory("http://127.0.0.1:8700", token) as factory:
...     accepted = factory.workflows.execute("workflow_123", {"message": "Hello"})
...     execution = factory.executions.wait(accepted["execution_id"])

Answers are the API's JSON as it is; :mod:`agent_factory_client.schemas` says to a type checker what is in it.
"""

from agent_factory_client.client import AgentFactory
from agent_factory_client.errors import ApiError, ConnectionFailed, NotAControlPlane
from agent_factory_client.events import Event

__all__ = ["AgentFactory", "ApiError", "ConnectionFailed", "Event", "NotAControlPlane"]
