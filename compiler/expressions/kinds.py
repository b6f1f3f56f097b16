"""What can be seen of a value's type without evaluating it."""

from __future__ import annotations

from typing import Literal

from jinja2 import nodes

from compiler.expressions.errors import ExpressionError

Kind = Literal["string", "number", "boolean", "null", "list", "object"]

_FILTER_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("lower", "upper", "trim", "replace", "truncate", "date", "join", "string", "tojson"), "string"),
    **dict.fromkeys(("length", "round", "sum"), "number"),
    **dict.fromkeys(("split", "sort", "unique", "map", "selectattr"), "list"),
}

# The nodes of arithmetic that takes numbers only, with their signs.
ARITHMETIC: dict[type[nodes.Node], str] = {
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
}
ORDER_SIGNS = {"lt": "<", "lteq": "<=", "gt": ">", "gteq": ">="}


def kind_of(node: nodes.Node) -> Kind | None:
    """Return the type of an expression's value where it can be seen, else None."""
    if isinstance(node, nodes.Const):
        return _kind_of_constant(node.value)
    if isinstance(node, nodes.Concat):
        return "string"
    if isinstance(node, nodes.List):
        return "list"
    if isinstance(node, nodes.Dict):
        return "object"
    if isinstance(node, nodes.Compare | nodes.Not | nodes.Test):
        return "boolean"
    return _kind_of_operator(node)


def _kind_of_constant(value: object) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return "string" if isinstance(value, str) else "number"


def _kind_of_operator(node: nodes.Node) -> Kind | None:
    if isinstance(node, nodes.Neg | nodes.Pos) or type(node) in ARITHMETIC:
        return "number"
    if isinstance(node, nodes.Filter):
        return _FILTER_KINDS.get(node.name)
    if isinstance(node, nodes.Add):
        # The right side is enough: both sides are of one type. A chain of `+` leans left and may be long.
        right = kind_of(node.right)
        return right if right or isinstance(node.left, nodes.Add) else kind_of(node.left)
    return None


def operand_problems(node: nodes.Node) -> list[ExpressionError]:
    """Return what is wrong with the operands of one node, as far as their types can be seen."""
    if isinstance(node, nodes.BinExpr) and type(node) in ARITHMETIC:
        return _not_numbers(ARITHMETIC[type(node)], [kind_of(node.left), kind_of(node.right)])
    if isinstance(node, nodes.Neg | nodes.Pos):
        return _not_numbers("-" if isinstance(node, nodes.Neg) else "+", [kind_of(node.node)])
    if isinstance(node, nodes.Add):
        return _not_alike("+", kind_of(node.left), kind_of(node.right), ("number", "string", "list"))
    if isinstance(node, nodes.Compare):
        left, problems = kind_of(node.expr), []
        for operand in node.ops:
            right = kind_of(operand.expr)
            if operand.op in ORDER_SIGNS:
                problems += _not_alike(ORDER_SIGNS[operand.op], left, right, ("number", "string"))
            left = right
        return problems
    return []


def _not_numbers(sign: str, kinds: list[Kind | None]) -> list[ExpressionError]:
    return [
        ExpressionError("expression_forbidden", f"`{sign}` takes numbers; got {_article(kind)}")
        for kind in kinds
        if kind not in (None, "number")
    ]


def _not_alike(sign: str, left: Kind | None, right: Kind | None, allowed: tuple[Kind, ...]) -> list[ExpressionError]:
    wrong = [kind for kind in (left, right) if kind is not None and kind not in allowed]
    if not wrong and (left is None or right is None or left == right):
        return []
    names = " or ".join(f"two {kind}s" for kind in allowed)
    got = f"{_article(left)} and {_article(right)}" if left and right else _article(wrong[0])
    return [ExpressionError("expression_forbidden", f"`{sign}` takes {names}; got {got}")]


def _article(kind: Kind | None) -> str:
    if kind in (None, "null"):
        return "null"
    return f"an {kind}" if kind == "object" else f"a {kind}"
