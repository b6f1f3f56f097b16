"""Valid workflows with a few slips in them, as people and programs make them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]
Path_ = tuple[str | int, ...]

TESTS = Path(__file__).parents[1]


def valid_cases() -> list[Json]:
    """Return the corpus, golden workflows, examples and templates: ``{workflow, input, vars, stubs}`` each."""
    found = [json.loads(path.read_text()) for path in sorted((TESTS / "workflows").glob("*.json"))]
    bare = [path for path in sorted((TESTS / "golden").glob("*.json")) if not path.name.endswith(".plan.json")]
    for folder in ("dags/examples", "api/templates/public"):
        bare += sorted((TESTS.parent / folder).glob("*.json"))
    return found + [{"workflow": json.loads(path.read_text()), "input": {"message": "Hi"}} for path in bare]


def places(value: Any, path: Path_ = ()) -> list[Path_]:
    """Return the paths of all values in a document."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in children for place in places(child, (*path, key)))]


def at(document: Any, path: Path_) -> Any:
    """Return the value at a path."""
    for key in path:
        document = document[key]
    return document


class Patient:
    """A workflow that is being mutated."""

    def __init__(self, workflow: Json, draw: st.DrawFn) -> None:
        self.root: Json = {"root": copy.deepcopy(workflow)}
        self.draw = draw

    @property
    def workflow(self) -> Any:
        """The workflow as it is now."""
        return self.root["root"]

    def pick(self, wanted: Callable[[Path_, Any], bool] = lambda path, value: True) -> Path_ | None:
        """Draw the path of a value that is wanted; the whole document is never drawn."""
        found = [path for path in places(self.root) if len(path) > 1 and wanted(path, at(self.root, path))]
        return self.draw(st.sampled_from(found)) if found else None

    def put(self, path: Path_, value: Any) -> None:
        """Replace the value at a path, by a copy, so that no value stands in a document twice."""
        at(self.root, path[:-1])[path[-1]] = copy.deepcopy(value)

    def tasks(self) -> list[Json]:
        """Return what are tasks still."""
        tasks = self.workflow.get("tasks") if isinstance(self.workflow, dict) else None
        return [task for task in tasks if isinstance(task, dict)] if isinstance(tasks, list) else []


def _is_text(path: Path_, value: Any) -> bool:
    return isinstance(value, str)


def _is_expression(path: Path_, value: Any) -> bool:
    return isinstance(value, str) and "{" in value


def _is_number(path: Path_, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_key(path: Path_, value: Any) -> bool:
    return isinstance(path[-1], str)


def _remove(patient: Patient) -> None:
    path = patient.pick()
    if path is not None:
        del at(patient.root, path[:-1])[path[-1]]


_OTHER = st.sampled_from(
    [None, True, False, 0, -1, 1.5, "", "a", [], {}, [None], [[]], {"": None}, "{{ input }}", "5m"]
)


def _retype(patient: Patient) -> None:
    path = patient.pick()
    if path is not None:
        patient.put(path, patient.draw(_OTHER))


def _typo(patient: Patient, text: str) -> str:
    """Drop, double, swap or change the case of one character."""
    if not text:
        return "x"
    place = patient.draw(st.integers(0, len(text) - 1))
    before, sign, after = text[:place], text[place], text[place + 1 :]
    return patient.draw(
        st.sampled_from([before + after, before + sign + sign + after, before + after[:1] + sign + after[1:],
                         before + sign.swapcase() + after, text + "s", text + " "]),
    )  # fmt: skip


def _misspell(patient: Patient) -> None:
    path = patient.pick(_is_text)
    if path is not None:
        patient.put(path, _typo(patient, at(patient.root, path)))


def _misspell_key(patient: Patient) -> None:
    path = patient.pick(_is_key)
    if path is not None:
        container = at(patient.root, path[:-1])
        renamed = _typo(patient, str(path[-1]))
        items = [(renamed if key == path[-1] else key, value) for key, value in container.items()]
        container.clear()
        container.update(items)


def _turn_edge(patient: Patient) -> None:
    """Let the target of an edge lead back to where it came from."""
    tasks = {task.get("id"): task for task in patient.tasks() if isinstance(task.get("id"), str)}
    edges = [(source, target) for source, task in tasks.items() if isinstance(task.get("next"), list)
             for target in task["next"] if isinstance(target, str) and target in tasks]  # fmt: skip
    if edges:
        source, target = patient.draw(st.sampled_from(edges))
        if patient.draw(st.booleans()):
            tasks[source]["next"].remove(target)
        following = tasks[target].setdefault("next", [])
        if isinstance(following, list):
            following.append(source)


def _move_edge(patient: Patient) -> None:
    """Let an edge lead to another task."""
    ids = [task["id"] for task in patient.tasks() if isinstance(task.get("id"), str)]
    path = patient.pick(lambda path, value: isinstance(value, str) and value in ids and path[-1] != "id")
    if path is not None:
        patient.put(path, patient.draw(st.sampled_from(ids)))


_TOKENS = st.sampled_from([
    "{{", "}}", "{%", "%}", "{#", "|", ".", "(", ")", "[", "]", "'", '"', "==", "**", "+", "not ", " if ", " else ",
    "~", "-", "/ 0", "| upper", "| lenght", "| length", "| int", "| default('x')", "| first", "| date('%Q')", "in ",
    "input", "output", "item", "loop.index", "none", "1e999", "99999999999999999999", "__class__", ".x.y", "[0]",
    "is defined", "is odd", "| round(400)", "| join(1)", "| split('')", "| sort(attribute=1)", "{% if x %}", "\\",
    "| truncate(-1)", "| replace('', 'x')", "| selectattr('a', 'no')", "| fromjson", "1 + 'a'", "('a' | upper) * 2",
])  # fmt: skip


def _break_expression(patient: Patient) -> None:
    path = patient.pick(_is_expression)
    if path is not None:
        text = at(patient.root, path)
        start = patient.draw(st.integers(0, len(text)))
        end = min(len(text), start + patient.draw(st.integers(0, 4)))
        patient.put(path, text[:start] + patient.draw(_TOKENS) + text[end:])


_NUMBERS = st.sampled_from([
    0, -1, 1, 2, 99, 100, 101, 0.1, -0.0, 0.5, 1e-320, 1e300, 1e308, 31_622_400, 31_622_401, 2**31, 2**53, 2**63 - 1,
    2**63, 2**64 - 1, 2**64, 10**30, -(2**63), -(2**63) - 1,
])  # fmt: skip


def _renumber(patient: Patient) -> None:
    path = patient.pick(_is_number)
    if path is None:
        path = patient.pick()
    if path is not None:
        patient.put(path, patient.draw(_NUMBERS))


def _same_id(patient: Patient) -> None:
    tasks = patient.tasks()
    if len(tasks) > 1:
        one, other = patient.draw(st.permutations(tasks))[:2]
        if "id" in one:
            other["id"] = one["id"]


def _nest(patient: Patient) -> None:
    """Wrap a value, or put one of its children in its place."""
    path = patient.pick()
    if path is None:
        return
    value = at(patient.root, path)
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    wraps: list[Any] = [[value], {"x": value}, {"config": value}]
    patient.put(path, patient.draw(st.sampled_from([*wraps, *children])))


_SIGNS = st.sampled_from([
    "\x00", "\n", "\r\n", "\t", "ü", "😀", "\u202e", "\u2028", "\ufeff", "\ud800", "İ", "ß", "́", "０", "\x7f", "‮",
    "a" * 70, "é" * 300, "'", '"', "\\", "${x}", "<script>", "../..",
])  # fmt: skip


def _insert_signs(patient: Patient) -> None:
    path = patient.pick(_is_text)
    if path is not None:
        text = at(patient.root, path)
        place = patient.draw(st.integers(0, len(text)))
        patient.put(path, text[:place] + patient.draw(_SIGNS) + text[place:])


def _move(patient: Patient) -> None:
    """Copy a value over another one."""
    path, other = patient.pick(), patient.pick()
    if path is not None and other is not None:
        patient.put(path, at(patient.root, other))


_ADDED: list[Json] = [
    {"join": "any"}, {"join": "none"}, {"retry": {"attempts": 3}}, {"retry": {"attempts": 0}}, {"timeout": "0s"},
    {"timeout": "1h"}, {"on_error": "continue"}, {"on_error": {"goto": "a"}}, {"on_error": "skip"}, {"code": "x"},
    {"cache": {"ttl_seconds": 1}}, {"type": "http_request"}, {"type": "map"}, {"next": ["a", "a"]}, {"next": "a"},
    {"output": "{{ a.output }}"}, {"vars": ["x", "x"]}, {"settings": {"timeout": "1ms"}}, {"default": "a"},
    {"input": {"type": "strin"}}, {"input": {"$ref": "#/x"}}, {"triggers": []}, {"status": 99},
    {"output_schema": {"type": "array"}}, {"output_schema": {"type": "object", "properties": {"a": 1}}},
    {"headers": {"a b": "c"}}, {"jsonpath": "$..["},
    {"from": "{{ input }}"}, {"if": "x"}, {"temperature": 3}, {"max_tokens": "many"},
]  # fmt: skip


def _add(patient: Patient) -> None:
    path = patient.pick(lambda path, value: isinstance(value, dict))
    if path is not None:
        at(patient.root, path).update(copy.deepcopy(patient.draw(st.sampled_from(_ADDED))))


MUTATIONS: dict[str, Callable[[Patient], None]] = {
    "remove": _remove,
    "retype": _retype,
    "misspell": _misspell,
    "misspell_key": _misspell_key,
    "turn_edge": _turn_edge,
    "move_edge": _move_edge,
    "break_expression": _break_expression,
    "renumber": _renumber,
    "same_id": _same_id,
    "nest": _nest,
    "insert_signs": _insert_signs,
    "move": _move,
    "add": _add,
}

_VALID = valid_cases()


@st.composite
def mutants(draw: st.DrawFn) -> Json:
    """Draw a valid case whose workflow got one slip or a few."""
    case = draw(st.sampled_from(_VALID))
    patient = Patient(case["workflow"], draw)
    for name in draw(st.lists(st.sampled_from(list(MUTATIONS)), min_size=1, max_size=3)):
        MUTATIONS[name](patient)
    return {**case, "workflow": patient.workflow}
