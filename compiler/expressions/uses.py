"""Which names an expression reads, and how it uses them: what references are checked and schemas inferred from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jinja2 import nodes

from compiler.expressions.kinds import ARITHMETIC, ORDER_SIGNS, kind_of
from compiler.expressions.tree import asks_if_missing, constant_key, hanging, spine_of

UseKind = Literal["string", "number", "boolean", "any", "render"]


@dataclass(frozen=True, slots=True)
class Reference:
    """A name read from the scope with the constant path that is read off it.

    ``classify.output.intent`` is root ``classify`` and path ``("output", "intent")``. ``optional``: it stands left of
    ``default`` or ``is defined``, so it may be missing.
    """

    root: str
    path: tuple[str | int, ...]
    optional: bool


@dataclass(frozen=True, slots=True)
class Use:
    """How a reference is used.

    ``string``: compared with strings, of which ``values`` are known, or given to a filter that takes strings.
    ``number``: in arithmetic, ordered, or compared with numbers. ``boolean``: asked for its truth. ``render``: put
    into text or passed on as it is, which says nothing about its type. ``any``: everything else.
    """

    root: str
    path: tuple[str | int, ...]
    kind: UseKind
    values: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class _Context:
    """What becomes of the value of the expression that is walked.

    ``choice`` is true where the value passes on as a whole, so that the whole may be a condition.
    """

    kind: UseKind
    values: tuple[str, ...] = ()
    optional: bool = False
    choice: bool = False


_CASE_FILTERS = frozenset({"lower", "upper", "trim"})
_STRING_FILTERS = frozenset({*_CASE_FILTERS, "replace", "split", "truncate"})

_TEXT = _Context("render")
_WHOLE = _Context("render", choice=True)
_TRUTH = _Context("boolean")
_NUMBER = _Context("number")
_STRING = _Context("string")
_ANY = _Context("any")


def uses_of(body: list[nodes.Node], is_expression: bool, is_condition: bool = False) -> tuple[Use, ...]:
    """Return the uses of a checked syntax tree, in the order of the text.

    :param is_condition: The value of the whole expression is asked for its truth.
    """
    walk = _Walk()
    whole = _TRUTH if is_condition else _WHOLE if is_expression else _TEXT
    walk.body(body, frozenset(), whole)
    return tuple(dict.fromkeys(walk.uses))


def references_of(uses: tuple[Use, ...]) -> tuple[Reference, ...]:
    """Return each reference of the uses once."""
    return tuple(dict.fromkeys(Reference(use.root, use.path, use.optional) for use in uses))


class _Walk:
    def __init__(self) -> None:
        self.uses: list[Use] = []

    def body(self, body: list[nodes.Node], locals_: frozenset[str], context: _Context) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                for child in node.nodes:
                    self._walk(child, locals_, context)
            elif isinstance(node, nodes.If):
                for branch in (node, *node.elif_):
                    self._walk(branch.test, locals_, _TRUTH)
                    self.body(branch.body, locals_, _TEXT)
                self.body(node.else_, locals_, _TEXT)
            elif isinstance(node, nodes.For) and isinstance(node.target, nodes.Name):
                self._walk(node.iter, locals_, _ANY)
                self.body(node.body, locals_ | {node.target.name, "loop"}, _TEXT)

    def _walk(self, node: nodes.Node, locals_: frozenset[str], context: _Context) -> None:
        """Walk down the spine, each node telling what it makes of the operand below, then into what hangs off it."""
        leaf, above = spine_of(node)
        path: list[str | int] = []
        links = 0
        for parent in above:
            key = constant_key(parent)
            if key is None:
                break
            path.append(key)
            links += 1
        pending: list[tuple[nodes.Node, _Context]] = []
        for parent in reversed(above[links:]):
            pending += reversed(_children(parent, context))
            context = _of_operand(parent, context)
        self._leaf(leaf, path, locals_, context)
        for child, of_child in reversed(pending):
            self._walk(child, locals_, of_child)

    def _leaf(self, leaf: nodes.Node, path: list[str | int], locals_: frozenset[str], context: _Context) -> None:
        if isinstance(leaf, nodes.Name):
            if leaf.name not in locals_:
                self.uses.append(Use(leaf.name, tuple(path), context.kind, context.values, context.optional))
            return
        if path:
            context = _ANY if not context.optional else replace(_ANY, optional=True)
        for child, of_child in _children(leaf, context):
            self._walk(child, locals_, of_child)


def _of_operand(parent: nodes.Node, context: _Context) -> _Context:
    """Return what becomes of the left operand of a node on the spine, its own value going to ``context``."""
    if isinstance(parent, nodes.And | nodes.Or):
        made = _of_choice(parent, True, context)
    elif isinstance(parent, nodes.Compare):
        made = _of_comparison(parent.ops[0].op, parent.ops[0].expr, left=True)
    elif type(parent) in ARITHMETIC:
        made = _NUMBER
    elif isinstance(parent, nodes.Add):
        made = _of_addition(parent.right)
    elif isinstance(parent, nodes.Filter):
        made = _of_filtered(parent.name, context)
    elif isinstance(parent, nodes.Test):
        made = _NUMBER if parent.name in ("even", "odd") else _ANY
    else:
        made = _ANY
    return replace(made, optional=context.optional)


def _children(parent: nodes.Node, context: _Context) -> list[tuple[nodes.Node, _Context]]:
    """Return what hangs off a node, with what becomes of each."""
    if isinstance(parent, nodes.Filter | nodes.Test):
        made = _of_arguments(parent, context)
    elif isinstance(parent, nodes.Compare):
        made = _of_right_sides(parent)
    elif isinstance(parent, nodes.CondExpr):
        made = [_TRUTH if child is parent.test else context for child in hanging(parent)]
    else:
        made = [_of_only_kind(parent, context)] * len(hanging(parent))
    pairs = zip(hanging(parent), made, strict=True)
    return [(child, replace(of_child, optional=of_child.optional or context.optional)) for child, of_child in pairs]


def _of_arguments(parent: nodes.Filter | nodes.Test, context: _Context) -> list[_Context]:
    if not asks_if_missing(parent):
        return [_ANY] * len(hanging(parent))
    # Of `x | default(y)` both pass on; `x is defined` says nothing about the type of x.
    is_default = isinstance(parent, nodes.Filter)
    asked = replace(context if is_default else _TEXT, optional=True)
    return [asked, *[context] * (len(hanging(parent)) - 1)]


def _of_right_sides(parent: nodes.Compare) -> list[_Context]:
    """Of each right operand the one that stands left of its operator tells the type."""
    operands = [parent.expr, *[operand.expr for operand in parent.ops]]
    return [
        _of_comparison(operand.op, before, left=False) for operand, before in zip(parent.ops, operands, strict=False)
    ]


def _of_only_kind(parent: nodes.Node, context: _Context) -> _Context:
    """Return the context of the operands of a node that does the same with each."""
    if isinstance(parent, nodes.And | nodes.Or):
        return _of_choice(parent, False, context)
    if isinstance(parent, nodes.Add):
        return _of_addition(parent.left)
    if type(parent) in ARITHMETIC or isinstance(parent, nodes.Neg | nodes.Pos):
        return _NUMBER
    if isinstance(parent, nodes.Not):
        return _TRUTH
    return _TEXT if isinstance(parent, nodes.Concat | nodes.List | nodes.Dict) else _ANY


def _of_choice(parent: nodes.And | nodes.Or, left: bool, context: _Context) -> _Context:
    """``and`` and ``or`` ask for truth, but they also give an operand: ``x or 'none'`` must not make x a boolean.

    Where the value of the whole is not known to be asked for its truth, it may be, if no operand tells otherwise.
    """
    unlike = any(kind_of(operand) not in (None, "boolean") for operand in (parent.left, parent.right))
    if context.kind == "boolean" or (context.choice and not unlike):
        return _TRUTH
    if not left:
        return context
    # The left operand of `and` is given only where it is falsy.
    return _TRUTH if isinstance(parent, nodes.And) else _ANY


def _of_comparison(op: str, other: nodes.Node, left: bool) -> _Context:
    kind = kind_of(other)
    if op in ORDER_SIGNS:
        return _STRING if kind == "string" else _NUMBER
    if op in ("in", "notin"):
        return _of_membership(other) if left else _ANY
    if kind == "string":
        return _Context("string", _constants([other]))
    return {"number": _NUMBER, "boolean": _TRUTH}.get(kind or "", _ANY)


def _of_membership(container: nodes.Node) -> _Context:
    items = container.items if isinstance(container, nodes.List) else []
    kinds = {kind_of(item) for item in items}
    if kinds == {"string"}:
        return _Context("string", _constants(items))
    return _NUMBER if kinds == {"number"} else _ANY


def _of_right_side(parent: nodes.Compare, child: nodes.Node) -> _Context:
    """Return the context of a right operand: the one that stands left of its operator decides."""
    before = parent.expr
    for operand in parent.ops:
        if operand.expr is child:
            return _of_comparison(operand.op, before, left=False)
        before = operand.expr
    return _ANY


def _constants(items: Sequence[nodes.Node]) -> tuple[str, ...]:
    values = [item.value for item in items if isinstance(item, nodes.Const) and isinstance(item.value, str)]
    return tuple(dict.fromkeys(values))


def _of_addition(other: nodes.Node) -> _Context:
    return {"number": _NUMBER, "string": _STRING}.get(kind_of(other) or "", _ANY)


def _of_filtered(name: str, context: _Context) -> _Context:
    if name in _CASE_FILTERS and context.kind == "string":
        # `x | lower == 'billing'` still tells the values of x.
        return context
    if name in _STRING_FILTERS:
        return _STRING
    return _NUMBER if name == "round" else _ANY
