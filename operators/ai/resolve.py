"""Which provider serves a model name. A router that picks the model itself will stand in front of this."""

from __future__ import annotations

import re
from dataclasses import dataclass

from operators.steps.base import config_error

PROVIDERS = ("openai", "anthropic", "test")

_KNOWN_NAMES = (
    (re.compile(r"(gpt-|chatgpt|o\d)"), "openai"),
    (re.compile(r"claude"), "anthropic"),
)


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A provider and the name it knows the model by."""

    provider: str
    model: str


def resolve_model(name: str) -> ModelChoice:
    """Return who serves ``name``: ``provider:model``, or a name whose maker is plain from how it begins.

    :raises StepFailedError: ``invalid_config``: neither is the case.
    """
    provider, colon, model = name.partition(":")
    if colon:
        if provider in PROVIDERS and model:
            return ModelChoice(provider, model)
        known = ", ".join(PROVIDERS)
        raise config_error(
            f"`model` must be '<provider>:<model>' with a provider of {known}; got {name!r}. "
            "A server with an OpenAI-compatible API is 'openai:<model>' with its base URL"
        )
    for pattern, maker in _KNOWN_NAMES:
        if pattern.match(name):
            return ModelChoice(maker, name)
    if name == "test":
        return ModelChoice("test", "test")
    raise config_error(
        "`model` must begin with gpt-, chatgpt, o1 (or another o and digit) or claude, or be '<provider>:<model>'; "
        f"got {name!r}. Write e.g. 'openai:{name}'"
    )
