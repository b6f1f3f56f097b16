"""Checks JSON Schemas that stand in a workflow: valid, small, and closed in themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from compiler.diagnostics import Code
from compiler.graph import Graph
from compiler.problems import Parts, Problems, shown

MAX_SCHEMA_BYTES = 64 * 1024
MAX_WAYS = 1_000
"""Schemas that are applied to one value, counted each time they are."""
DIALECT = "https://json-schema.org/draft/2020-12/schema"


def check_schema(
    schema: dict[str, Any], parts: Parts, code: Code, problems: Problems, task_id: str | None = None
) -> bool:
    """Check one schema and report what is wrong.

    :param code: The code of an invalid schema.
    :return: Whether it is valid.
    """
    if len(orjson.dumps(schema)) > MAX_SCHEMA_BYTES:
        message = f"A schema may have {MAX_SCHEMA_BYTES:,} bytes; this one has more."
        problems.error("limit_exceeded", parts, message, task_id=task_id)
        return False
    found = list(_problems_of(schema))
    for inner, message in found:
        problems.error(code, (*parts, *inner), message, task_id=task_id)
    return not found


def describes_object(schema: dict[str, Any]) -> bool:
    """Tell whether whatever matches a schema is an object."""
    return schema.get("type") == "object"


def mismatch(schema: dict[str, Any], value: Any) -> tuple[Parts, str] | None:
    """Return where and why a value does not match a checked schema; None where it does."""
    from compiler.matching import BoundedValidator, TooMuchWorkError

    try:
        found = BoundedValidator(schema).best_mismatch(value)
    except TooMuchWorkError as error:
        return (), str(error)
    return None if found is None else (found.path, _short(found.message))


def _short(message: str) -> str:
    return message if len(message) <= 200 else message[:199] + "…"


def _problems_of(schema: dict[str, Any]) -> Iterator[tuple[Parts, str]]:
    """Yield paths and messages of what is wrong with a schema."""
    # Imported here: it takes half a second, and many workflows have no schema.
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.exceptions import best_match

    dialect = schema.get("$schema", DIALECT)
    if dialect != DIALECT:
        yield ("$schema",), f"A schema must be of JSON Schema 2020-12; got {shown(dialect)}."
        return
    # Not the format `regex`: patterns are of another kind, and checked below.
    formats = FormatChecker(set(Draft202012Validator.FORMAT_CHECKER.checkers) - {"regex"})
    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=formats)
    error = best_match(meta.iter_errors(schema))
    if error is not None:
        yield tuple(error.absolute_path), f"A schema must be valid JSON Schema 2020-12: {_short(error.message)}."
        return
    subschemas = _subschemas(schema)
    yield from _pattern_problems(subschemas)
    yield from _reference_problems(schema, subschemas)


def _pattern_problems(subschemas: list[tuple[Parts, dict[str, Any]]]) -> Iterator[tuple[Parts, str]]:
    """Yield the patterns that cannot be searched for in linear time, and what would search for them otherwise."""
    from compiler.matching import pattern_problem

    for parts, value in subschemas:
        places = [(key, (*parts, "patternProperties", key)) for key in value.get("patternProperties", {})]
        if "pattern" in value:
            places.append((value["pattern"], (*parts, "pattern")))
        for pattern, place in places:
            if message := pattern_problem(pattern):
                yield place, message
    names = {
        name: parts
        for parts, value in subschemas
        for name in ("patternProperties", "unevaluatedProperties")
        if name in value
    }
    if len(names) == 2:
        message = "A schema may have `unevaluatedProperties` or `patternProperties`, not both; name the properties."
        yield (*names["unevaluatedProperties"], "unevaluatedProperties"), message


_REFERENCES = ("$ref", "$dynamicRef")
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")


def _reference_problems(
    schema: dict[str, Any], subschemas: list[tuple[Parts, dict[str, Any]]]
) -> Iterator[tuple[Parts, str]]:
    """Yield the references that leave the schema, lead nowhere, or come back without having gone deeper.

    And where too many lead to the same value: what checks it goes through all of them.
    """
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    numbers = {id(value): number for number, (_, value) in enumerate(subschemas)}
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    same_place: list[tuple[int, int]] = []
    for number, (parts, value) in enumerate(subschemas):
        if parts and "$id" in value:
            yield (*parts, "$id"), "`$id` may stand only at the top of a schema."
            return
        for key in _REFERENCES:
            reference = value.get(key, "#")
            if not reference.startswith("#"):
                yield (
                    (*parts, key),
                    f"`{key}` must lead into its own schema, like '#/$defs/x'; got {shown(reference)}.",
                )
                continue
            try:
                target = resolver.lookup(reference).contents if key in value else True
            except Unresolvable:
                target = None
            if id(target) in numbers:
                same_place.append((number, numbers[id(target)]))
            elif not isinstance(target, bool):
                yield (*parts, key), f"`{key}` must lead to a schema; there is none at {shown(reference)}."
        same_place.extend((number, numbers[id(child)]) for child in _in_place(value))
    graph = Graph(len(subschemas), same_place)
    for group in graph.cycles():
        yield subschemas[group[0]][0], "A schema must not refer to itself for the same value: that would never end."
        return
    ways = _ways(graph, same_place)
    most = max(range(graph.size), key=ways.__getitem__)
    if ways[most] > MAX_WAYS:
        message = (
            f"At most {MAX_WAYS:,} schemas may be applied to one value, here {ways[most]:,}; use fewer references."
        )
        yield subschemas[most][0], message


def _ways(graph: Graph, edges: list[tuple[int, int]]) -> list[int]:
    """Return for each schema how many schemas are applied to a value with it, each as often as there are ways to it."""
    targets: list[list[int]] = [[] for _ in range(graph.size)]
    for source, target in edges:
        targets[source].append(target)
    ways = [1] * graph.size
    for (number,) in reversed(graph.components):
        # Above the limit only that it is above counts: the numbers would grow without end.
        ways[number] = min(1 + sum(ways[target] for target in targets[number]), 10 * MAX_WAYS)
    return ways


def _subschemas(schema: dict[str, Any]) -> list[tuple[Parts, dict[str, Any]]]:
    """Return the schema and all schemas in it, with their paths."""
    from referencing.jsonschema import DRAFT202012

    places: dict[int, Parts] = {}
    todo: list[tuple[Parts, Any]] = [((), schema)]
    while todo:
        parts, value = todo.pop()
        places[id(value)] = parts
        children = value.items() if isinstance(value, dict) else enumerate(value)
        todo.extend(((*parts, key), child) for key, child in children if isinstance(child, dict | list))
    found: list[dict[str, Any]] = [schema]
    for value in found:
        found.extend(item for item in DRAFT202012.subresources_of(value) if isinstance(item, dict))
    return [(places[id(value)], value) for value in found]


def _in_place(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the schemas in a schema that are applied to the same value."""
    children = [schema.get(key) for key in _IN_PLACE]
    children += [child for key in _IN_PLACE_LISTS for child in schema.get(key, [])]
    children += schema.get("dependentSchemas", {}).values()
    yield from (child for child in children if isinstance(child, dict))
