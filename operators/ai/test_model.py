"""The built-in test model: answers without a key, always the same to the same prompt.

With a schema it gives each property, in this order of preference:

1. ``const``;
2. a suggested value (``examples`` or ``enum``) that occurs as a word in the last message, in any case; of several the
   one that occurs first, of two at one place the longer;
3. ``default``;
4. for text "other" (with an ``enum`` without it: the last value), for numbers 0, false, an empty list, an object of
   its properties; limits such as ``minimum``, ``minLength`` or ``minItems`` are obeyed.

The prompt's own wording counts too: a prompt that lists the values answers with the first of them.
Without a schema it says that it is the test model and echoes how the last message begins.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from operators.ai.resolve import ModelChoice
from operators.execution.records import Usage

if TYPE_CHECKING:
    from operators.ai.inference import Answer, InferenceRequest

ECHO_LENGTH = 80
DEPTH = 20
"""How deep schemas are followed: a schema may contain itself."""


def answer(request: InferenceRequest, choice: ModelChoice) -> Answer:
    """Answer a request; tokens are counted as words, the price is zero because nobody charges."""
    from operators.ai.inference import Answer

    prompt = request.messages[-1].content
    value: Any = None
    text = f"[test model] {prompt[:ECHO_LENGTH]}"
    if request.output_schema is not None:
        value = _Sample(request.output_schema, prompt).value(request.output_schema, DEPTH)
        text = json.dumps(value, ensure_ascii=False)
    words = [*(message.content for message in request.messages), request.system or ""]
    usage = Usage(
        provider="test",
        model=choice.model,
        input_tokens=sum(len(item.split()) for item in words),
        output_tokens=len(text.split()),
        cost_usd=0.0,
        price={"source": "test model", "input_mtok": 0, "output_mtok": 0},
    )
    return Answer(text=text, value=value, has_value=request.output_schema is not None, usage=usage)


class _Sample:
    """Makes a value of a schema."""

    def __init__(self, root: Any, prompt: str) -> None:
        self._root = root
        self._prompt = prompt.casefold()

    def value(self, schema: Any, depth: int) -> Any:
        """Return a value of the schema."""
        schema = self._followed(schema, depth)
        if "const" in schema:
            return schema["const"]
        suggested = [*schema.get("examples", []), *schema.get("enum", [])]
        found = self._first_mentioned(suggested)
        if found is not None:
            return found
        if "default" in schema:
            return schema["default"]
        if "enum" in schema:
            return "other" if "other" in schema["enum"] else schema["enum"][-1]
        return self._plain(schema, depth)

    def _followed(self, schema: Any, depth: int) -> dict[str, Any]:
        """Follow ``$ref`` and take the first of ``anyOf``, ``oneOf`` and ``allOf``."""
        for _ in range(depth):
            if not isinstance(schema, dict):
                return {}
            if "$ref" in schema:
                schema = _at(self._root, schema["$ref"])
                continue
            choices = next((schema[word] for word in ("anyOf", "oneOf", "allOf") if schema.get(word)), None)
            if choices is None:
                return schema
            rest = {name: item for name, item in schema.items() if name not in ("anyOf", "oneOf", "allOf")}
            first = choices[0] if isinstance(choices[0], dict) else {}
            schema = {**rest, **first}
        return schema if isinstance(schema, dict) else {}

    def _first_mentioned(self, suggested: list[Any]) -> Any:
        places = []
        for value in suggested:
            if isinstance(value, str) and value:
                match = re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", self._prompt)
                if match is not None:
                    places.append((match.start(), -len(value), value))
        return min(places)[2] if places else None

    def _plain(self, schema: dict[str, Any], depth: int) -> Any:
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = schema.get("minItems", 0) if depth > 0 else 0
            return [self.value(schema.get("items", {}), depth - 1) for _ in range(count)]
        if kind in ("number", "integer"):
            return _number(schema)
        return {"boolean": False, "null": None}.get(kind, _text(schema))

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        # Where a schema contains itself, optional properties are left out in the end.
        names = dict.fromkeys([*properties, *required] if depth > DEPTH // 2 else required)
        return {name: self.value(properties.get(name, {}), depth - 1) for name in names} if depth > 0 else {}


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((item for item in kind if item != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    return str(kind)


def _number(schema: dict[str, Any]) -> int | float:
    """Return the number nearest to 0 that the limits allow."""
    low = schema.get("minimum", -math.inf)
    high = schema.get("maximum", math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + 1)
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - 1)
    number: int | float = min(max(0, low), high)
    step = schema.get("multipleOf")
    if step and number % step:
        number = math.ceil(number / step) * step
    return int(number) if number == int(number) else number


def _text(schema: dict[str, Any]) -> str:
    text = "other"
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema["maxLength"]] if "maxLength" in schema else text


def _at(root: Any, reference: str) -> Any:
    """Return what a local ``$ref`` names; an empty schema where it names nothing."""
    value = root
    for part in reference.lstrip("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        value = value.get(name, {}) if isinstance(value, dict) else {}
    return value
