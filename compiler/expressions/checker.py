"""Which of Jinja's syntax belongs to the expression language: what is not named here is forbidden."""

from __future__ import annotations

import math

from jinja2 import nodes

from compiler.diagnostics import closest
from compiler.expressions.budget import MAX_DEPTH
from compiler.expressions.check_filters import check_filter, check_test
from compiler.expressions.errors import ExpressionError
from compiler.expressions.kinds import operand_problems
from compiler.expressions.tree import constant_key, hanging, spine_of
from compiler.expressions.values import MAX_INTEGER, MIN_INTEGER

LOOP_KEYS = ("index", "first", "last")

_ALLOWED = (
    nodes.Name,
    nodes.Const,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Test,
    nodes.Compare,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Neg,
    nodes.Pos,
    nodes.Concat,
    nodes.CondExpr,
    nodes.List,
    nodes.Dict,
)

_FORBIDDEN: dict[type[nodes.Node], str] = {
    nodes.Call: "calls are not part of the expression language; use a filter such as `| length`",
    nodes.Slice: "slices are not part of the expression language; read items with `x[0]`, `x[-1]`",
    nodes.Pow: "`**` is not part of the expression language; write the multiplication out",
    nodes.Tuple: "tuples are not part of the expression language; write a list: `[1, 2]`",
}


class Checker:
    """Checks a syntax tree.

    ``problems`` collects what is allowed syntax but visibly cannot work, such as ``'a' * 3``.
    """

    def __init__(self) -> None:
        self.problems: list[ExpressionError] = []

    def check_body(self, body: list[nodes.Node], locals_: frozenset[str] = frozenset(), depth: int = 0) -> None:
        """Check statements and their expressions.

        :param locals_: Names that loops around the statements set.
        :raises ExpressionError: Something is not part of the language, or is nested too deep.
        """
        _check_depth(depth)
        for node in body:
            if isinstance(node, nodes.Output):
                for child in node.nodes:
                    if not isinstance(child, nodes.TemplateData):
                        self._check(child, locals_, depth + 1)
            elif isinstance(node, nodes.If):
                self._check_if(node, locals_, depth + 1)
            elif isinstance(node, nodes.For):
                self._check_for(node, locals_, depth + 1)
            else:
                raise _forbidden(f"the tags of the expression language are if, for and raw; got {_name(node)}")

    def _check_if(self, node: nodes.If, locals_: frozenset[str], depth: int) -> None:
        for branch in (node, *node.elif_):
            self._check(branch.test, locals_, depth)
            self.check_body(branch.body, locals_, depth)
        self.check_body(node.else_, locals_, depth)

    def _check_for(self, node: nodes.For, locals_: frozenset[str], depth: int) -> None:
        if not isinstance(node.target, nodes.Name):
            raise _forbidden("`for` sets one name: write `{% for x in list %}`")
        if node.recursive or node.test is not None or node.else_:
            raise _forbidden("`for` takes no `if`, `recursive` or `else`: write `{% for x in list %}` and `if` inside")
        name = node.target.name
        if name == "loop" or name.startswith("__"):
            raise _forbidden(f"`for` must set a name that is neither 'loop' nor begins with '__'; got '{name}'")
        self._check(node.iter, locals_, depth)
        self.check_body(node.body, locals_ | {name, "loop"}, depth)

    def _check(self, node: nodes.Node, locals_: frozenset[str], depth: int) -> None:
        _check_depth(depth)
        leaf, above = spine_of(node)
        if isinstance(leaf, nodes.Name) and leaf.name == "loop" and "loop" in locals_:
            _check_loop(above)
        for part in (leaf, *above):
            self._check_node(part)
            for child in hanging(part):
                self._check(child, locals_, depth + 1)
            self.problems.extend(operand_problems(part))

    def _check_node(self, node: nodes.Node) -> None:
        if not isinstance(node, _ALLOWED):
            raise _forbidden(_FORBIDDEN.get(type(node), f"{_name(node)} is not part of the expression language"))
        if isinstance(node, nodes.Name):
            _check_name(node.name)
        elif isinstance(node, nodes.Const):
            _check_constant(node.value)
        elif isinstance(node, nodes.Getattr | nodes.Getitem):
            _check_key(node)
        elif isinstance(node, nodes.Filter):
            self.problems.extend(check_filter(node))
        elif isinstance(node, nodes.Test):
            check_test(node)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(
            "limit_exceeded", f"expressions may be nested {MAX_DEPTH} levels deep; this one is deeper. Simplify it"
        )


def _check_name(name: str) -> None:
    if name.startswith("__"):
        raise _forbidden(f"names that begin with '__' are forbidden; got '{name}'")


def _check_key(node: nodes.Getattr | nodes.Getitem) -> None:
    key = constant_key(node)
    if isinstance(key, str) and key.startswith("__"):
        raise _forbidden(f"keys that begin with '__' are forbidden; got '{key}'")
    if key is None and isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        raise _forbidden(f"a key must be a string or a whole number; got {node.arg.value!r}")


def _check_constant(value: object) -> None:
    if isinstance(value, str):
        # `'\ud800'` is half a character: no UTF-8 can hold it.
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise ExpressionError("expression_syntax", "a string must hold whole characters; got half of a pair")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ExpressionError("expression_syntax", "a number must be finite; got one that is too large")
    elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        raise ExpressionError("expression_syntax", "a whole number must fit in 64 bits; got one that is too large")


def _check_loop(above: list[nodes.Node]) -> None:
    key = constant_key(above[0]) if above else None
    if key in LOOP_KEYS:
        return
    suggestion = closest(key, LOOP_KEYS) if isinstance(key, str) else None
    hint = f". Did you mean 'loop.{suggestion}'?" if suggestion else ""
    raise ExpressionError(
        "expression_forbidden",
        f"`loop` has index, first and last; got {'`loop`' if key is None else repr(key)}{hint}",
        suggestion,
    )


def _forbidden(message: str) -> ExpressionError:
    return ExpressionError("expression_forbidden", message)


def _name(node: nodes.Node) -> str:
    return f"'{type(node).__name__.lower()}'"
