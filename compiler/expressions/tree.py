"""How the nodes of Jinja's syntax tree hang together, for everything that walks it.

A chain such as ``a.b | trim ~ ...`` or ``1 + 2 + 3`` leans to the left and may be thousands of nodes deep. It is
walked as a *spine*: the leftmost operand first, then each node above it, without recursion. Only what hangs off the
spine is nested, and that is at most ``MAX_DEPTH`` levels.
"""

from __future__ import annotations

from jinja2 import nodes

_LEFT_FIELDS: dict[type[nodes.Node], str] = {
    nodes.Getattr: "node",
    nodes.Getitem: "node",
    nodes.Filter: "node",
    nodes.Test: "node",
    nodes.Compare: "expr",
    nodes.Add: "left",
    nodes.Sub: "left",
    nodes.Mul: "left",
    nodes.Div: "left",
    nodes.FloorDiv: "left",
    nodes.Mod: "left",
    nodes.And: "left",
    nodes.Or: "left",
}


def asks_if_missing(node: nodes.Node) -> bool:
    """Tell whether the node is ``default`` or ``is defined``: they look at their operand before it is needed, so
    they are no part of the spine."""
    return (isinstance(node, nodes.Filter) and node.name == "default") or (
        isinstance(node, nodes.Test) and node.name == "defined"
    )


def spine_of(node: nodes.Node) -> tuple[nodes.Node, list[nodes.Node]]:
    """Return the leftmost operand of an expression and the nodes above it, lowest first."""
    above: list[nodes.Node] = []
    while not asks_if_missing(node):
        field = _LEFT_FIELDS.get(type(node))
        left = getattr(node, field) if field else None
        if left is None:
            break
        above.append(node)
        node = left
    above.reverse()
    return node, above


def hanging(node: nodes.Node) -> list[nodes.Node]:
    """Return the operands of a node, in the order of the text, without the one that is on its spine."""
    if isinstance(node, nodes.BinExpr):
        return [node.right]
    if isinstance(node, nodes.Compare):
        return [operand.expr for operand in node.ops]
    if isinstance(node, nodes.UnaryExpr):
        return [node.node]
    if isinstance(node, nodes.Concat):
        return list(node.nodes)
    if isinstance(node, nodes.List):
        return list(node.items)
    return _hanging_rarer(node)


def _hanging_rarer(node: nodes.Node) -> list[nodes.Node]:
    if isinstance(node, nodes.Getitem):
        return [node.arg]
    if isinstance(node, nodes.Dict):
        return [part for pair in node.items for part in (pair.key, pair.value)]
    if isinstance(node, nodes.CondExpr):
        return [part for part in (node.expr1, node.test, node.expr2) if part is not None]
    if isinstance(node, nodes.Filter | nodes.Test):
        own = [node.node] if asks_if_missing(node) and node.node is not None else []
        return [*own, *node.args, *keywords_of(node).values()]
    return []


def keywords_of(node: nodes.Filter | nodes.Test) -> dict[str, nodes.Expr]:
    """Return the named arguments of a filter or test."""
    return {str(keyword.key): keyword.value for keyword in node.kwargs}


def constant_key(node: nodes.Node) -> str | int | None:
    """Return the key of ``x.key``, ``x['key']`` or ``x[-1]``, or None where it is computed."""
    if isinstance(node, nodes.Getattr):
        return str(node.attr)
    if not isinstance(node, nodes.Getitem):
        return None
    argument, sign = node.arg, 1
    if isinstance(argument, nodes.Neg):
        argument, sign = argument.node, -1
    if not isinstance(argument, nodes.Const) or isinstance(argument.value, bool):
        return None
    if isinstance(argument.value, int):
        return sign * argument.value
    return argument.value if isinstance(argument.value, str) and sign == 1 else None


def source_of(node: nodes.Node) -> str | None:
    """Return the text of a chain such as ``input.items[0]`` for messages, or None where it is no such chain."""
    leaf, above = spine_of(node)
    if not isinstance(leaf, nodes.Name):
        return None
    parts = [leaf.name]
    for parent in above:
        key = constant_key(parent)
        if isinstance(parent, nodes.Getattr):
            parts.append(f".{key}")
        elif isinstance(parent, nodes.Getitem):
            parts.append("[…]" if key is None else f"[{key!r}]")
        else:
            return None
    return "".join(parts)
